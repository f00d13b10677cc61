"""The source `directory`: every regular file below a root. Sizes and fingerprints come from the listing's own stat.

Symbolic links are problems by name unless `follow_symlinks`; then they are followed while they stay below the root.
"""

import json
import os
import re
import stat
from collections.abc import Callable, Collection, Iterator

from migrator.clients.fingerprints import file_fingerprint
from migrator.core.config import DirectorySource
from migrator.core.errors import PreflightError
from migrator.core.files import file_location
from migrator.core.keys import KeyMaker, Naming, NoMatch, TemplateError
from migrator.core.model import Fault, Item, Page, Problem
from migrator.sources.globs import Selection
from migrator.sources.page import PageBuilder, Result, shown
from migrator.sources.statuses import statuses
from migrator.sources.walk import Folder, Position, Walk, link_refusal

_PLAIN_NAME = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@-]+").fullmatch
"""Names that a location holds as they are."""

_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class DirectoryScan:
    """Lists the files of a `directory` source.

    hidden  real paths of folders that are not entered: what was taken away lies there
    """

    lists_destination = False

    def __init__(self, config: DirectorySource, naming: Naming, *, hidden: Collection[str] = ()) -> None:
        self.name = config.name
        self._config = config
        self._hidden = frozenset(hidden)
        self._keys = KeyMaker(config.key, naming, match=config.match)
        self._selection = Selection(config.include, config.exclude)
        self._largest = float("inf") if config.max_size is None else config.max_size
        self._smallest = max(config.min_size or 0, 1 if config.expect == "image" else 0)

    @property
    def root_path(self) -> str:
        """The root with every symbolic link resolved: what tells whether a destination is the same place."""
        return os.path.realpath(self._config.root)

    def scan(self, cursor: str | None) -> Iterator[Page]:
        """Every file after `cursor`: a folder's files by name, then its folders by name (see `walk`)."""
        root = self.root_path
        _require_folder(root, str(self._config.root))
        start = Position(*json.loads(cursor)) if cursor else None
        position = start or Position("", None)
        walk = Walk(root, self._enters(root), follow=self._config.follow_symlinks, inside=root)
        page = PageBuilder()
        for found in walk.folders(start):
            if not isinstance(found, Folder):
                page.add(found)
                if page.due:
                    yield page.take(_cursor(position))
                continue
            position = found.begin
            for name, result in self._results(found, root, walk):
                page.add(result)
                position = found.position(name)
                if page.due:
                    yield page.take(_cursor(position))
        if not page.empty or cursor is None:
            yield page.take(_cursor(position))

    def _enters(self, root: str) -> Callable[[str], bool]:
        if not self._hidden:
            return self._selection.enters
        resolve = os.path.realpath if self._config.follow_symlinks else str
        return lambda folder: resolve(os.path.join(root, folder)) not in self._hidden and self._selection.enters(folder)

    def _results(self, folder: Folder, root: str, walk: Walk) -> Iterator[tuple[str, Result]]:
        below = folder.relative + "/" if folder.relative else ""
        above = os.path.join(folder.path, "")
        location = file_location(above)
        selects = None if self._selection.everything else self._selection.takes
        wanted = (lambda name: selects(below + name)) if selects else None
        for name, status in statuses(above, folder.files, wanted):
            if status is None:
                yield name, None
                continue
            try:
                plain = location + name if _PLAIN_NAME(name) else file_location(above + name)
                yield name, self._result(above + name, below + name, plain, root, status)
            except OSError as error:
                yield name, walk.problem(above + name, error, "this file is left out")

    def _result(self, file: str, path: str, location: str, root: str, status: os.stat_result | OSError) -> Result:
        if isinstance(status, OSError):
            raise status
        if stat.S_ISLNK(status.st_mode):
            refusal = link_refusal(file, root) if self._config.follow_symlinks else _NOT_FOLLOWED
            if refusal:
                return _problem(file, refusal, Fault.FORBIDDEN if self._config.follow_symlinks else Fault.INVALID)
            status = os.stat(file)
        trouble = self._trouble(file, status)
        if trouble:
            return _problem(file, *trouble)
        try:
            key, carried = self._keys.make(path)
        except NoMatch as error:
            return None if self._config.on_no_match == "skip" else _problem(file, str(error))
        except TemplateError as error:
            return _problem(file, str(error))
        return Item(location, key, status.st_size, file_fingerprint(status), carried)

    def _trouble(self, file: str, status: os.stat_result) -> tuple[str, Fault] | None:
        mode = status.st_mode
        if not stat.S_ISREG(mode):
            kind = next((kind for matches, kind in _KINDS if matches(mode)), "no regular file")
            return f"{kind}: only regular files are moved", Fault.INVALID
        if not mode & stat.S_IROTH and not os.access(file, os.R_OK):
            return "may not be read by this user: grant read access and scan again", Fault.FORBIDDEN
        if not self._smallest <= status.st_size <= self._largest:
            if status.st_size == 0 and self._config.expect == "image":
                return "an empty file where an image is expected", Fault.INVALID
            bound = "min_size" if status.st_size < self._smallest else "max_size"
            limit = self._smallest if bound == "min_size" else self._largest
            return f"{status.st_size} bytes, where {bound} is {limit}", Fault.INVALID
        return None


_NOT_FOLLOWED = "a symbolic link: set follow_symlinks = true to move what it leads to, or exclude it"


def _require_folder(root: str, given: str) -> None:
    try:
        os.scandir(root).close()
    except FileNotFoundError:
        raise PreflightError(f"the root {given} does not exist", "correct `root`, or mount what it lies on") from None
    except NotADirectoryError:
        raise PreflightError(f"the root {given} is not a directory", "give the directory that holds the file") from None
    except OSError as error:
        advice = "grant read access to it" if isinstance(error, PermissionError) else "mount what it lies on again"
        raise PreflightError(f"the root {given} cannot be listed: {error.strerror}", advice) from None


def _problem(path: str, message: str, fault: Fault = Fault.INVALID) -> Problem:
    return Problem(shown(path), "", fault, message)


def _cursor(position: Position) -> str:
    return json.dumps([position.folder, position.after])
