"""Who is enrolled: records and templates behind one interface. No web, no inference, no threshold of its own."""

from service.gallery.gallery import Gallery

__all__ = ["Gallery"]
