"""A gallery encrypted again: its values in the database, then the files that its index derives from them."""

from __future__ import annotations

from collections.abc import Callable

from service.database.encryption import Keyring
from service.database.key_rotation import reseal_values
from service.gallery.gallery import Gallery
from service.index.base import Resealable


def reseal(gallery: Gallery, keyring: Keyring, progress: Callable[[int], None] | None = None) -> int:
    """Seal everything with the key that seals now; returns how many values were under another.

    Goes on where it was when it is interrupted. Searches and changes go on meanwhile.

    Args:
        gallery: Opened with the same keys.
        keyring: Opens what is stored and seals it again.
        progress: Called with the number of values done so far.

    Raises:
        KeyMissing: The key of a value is not known.
    """
    done = reseal_values(gallery.database, keyring, progress)
    if isinstance(gallery.index, Resealable):
        gallery.index.reseal()
    gallery.database.tidy()
    return done
