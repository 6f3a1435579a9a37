"""A shell as a reader of the documents has it: photographs in its folder, the commands on its path.

There is no container here: `docker compose exec facet` runs the command, and other uses of docker do nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.conftest import ROOT
from tests.waiting import PATIENCE

END = "-- end of command"
PRELUDE = """
set -o pipefail
docker() { if [ "$1 $2 $3" = "compose exec facet" ]; then shift 3; "$@"; fi; }
"""


class Shell:
    """One bash for all commands of a document: what one exports the next one has."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        # curl succeeds on an error's status unless it is told otherwise: here every one of them must not.
        (folder / ".curlrc").write_text("fail-with-body\nsilent\nshow-error\n")
        self._errors = folder / ".errors"
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        own = {"PATH": path, "CURL_HOME": str(folder), "PYTHONPATH": str(ROOT), "COLUMNS": "160"}
        self._environment = {**environment, **own}

    def __enter__(self) -> Self:
        with self._errors.open("wb") as errors:
            self._bash = subprocess.Popen(
                ["bash"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=self._folder,
                env=self._environment,
                text=True,
            )
        assert self.run(PRELUDE)[0] == 0
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bash.communicate("exit\n", timeout=PATIENCE)

    def back(self) -> None:
        """Into the folder with the photographs, as in a new terminal."""
        self.run(f"cd {self._folder}")

    def run(self, command: str) -> tuple[int, str]:
        """Run a command; returns its exit status and what it printed on standard output."""
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        self._bash.stdin.write(f"{{ {command}\n}} </dev/null\nprintf '\\n%s %d\\n' '{END}' $?\n")
        self._bash.stdin.flush()
        printed: list[str] = []
        for line in self._bash.stdout:
            if line.startswith(END):
                return int(line.removeprefix(END)), "".join(printed)[:-1]
            printed.append(line)
        raise AssertionError(f"the shell ended at: {command}\n{self.errors}")

    @property
    def errors(self) -> str:
        """The last lines of standard error."""
        return "\n".join(self._errors.read_text(errors="replace").splitlines()[-15:])
