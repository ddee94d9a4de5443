"""The walk of a folder tree: every file below some folders, a page at a time, in few requests and bounded memory.

The children of up to 50 folders are asked for at once; the folders among them are walked next, in groups of
50 again, depth first. A group is named by the range of its folders' digests, so a place in the walk is two
digests per level however wide the tree is, and another process finds it by listing the folders on the way
down. Folders that come, go or move meanwhile leave the ranges as they are.

Drive has been seen to answer such a group with nothing (https://issuetracker.google.com/issues/149522397),
so every folder that showed nothing is asked alone: a folder is empty when it says so itself. If one has
children after all, and the answer had shown those of others, the walk says so (`Step.short`) and asks every
folder alone from then on. When a place in the walk is found again, only folders are asked for, and of those
without any, which are most, one of a group is asked alone as a sample.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from providers.errors import Misconfigured, Transient
from providers.google_drive.client import DriveClient, foreign
from providers.google_drive.exports import FOLDER
from providers.google_drive.files import FIELDS, digest, safe_name
from providers.google_drive.roots import corpus, look_at, quoted

__all__ = ["Folder", "Place", "Step", "Walk", "WalkMemory"]

_GROUP = 50
_REQUESTS = 8
"""Requests for one page while nothing turns up."""
_KEEP = 12
"""Places whose surroundings are remembered; another one is found again by asking."""
_MAX_DEPTH = 300


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder and its path from the root of the sync."""

    id: str
    path: str
    resource_key: str = ""

    @property
    def order(self) -> str:
        """Where it comes in the walk."""
        return hashlib.blake2b(self.id.encode(), digest_size=4).hexdigest()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a walk is. `levels`: low and high digest of the group at each level below the top one."""

    levels: str = ""
    token: str | None = None
    shown: int = 0
    """Which folders of the group have shown something, as bits."""
    alone: int = -1
    """The folder of the group that is being asked alone."""
    last: str = ""
    turn: int = 0
    mark: str = ""
    doubt: int = 0
    """0: none, 1: an answer of the group showed something and was silent about the folder being asked alone,
    2: such a folder had children, and groups are no longer asked."""

    def encode(self) -> list[Any]:
        """As JSON."""
        return [self.levels, self.token, f"{self.shown:x}", self.alone, self.last, self.turn, self.mark, self.doubt]

    @classmethod
    def decode(cls, told: Sequence[Any]) -> Self:
        """Inverse of `encode`."""
        levels, token, shown, alone, last, turn, mark, *doubt = told
        return cls(levels, token, int(shown, 16), alone, last, turn, mark, *doubt)


@dataclass(slots=True)
class _Frame:
    low: str
    high: str
    group: tuple[Folder, ...]
    below: tuple[Folder, ...] = ()


@dataclass(slots=True)
class _State:
    frames: list[_Frame]
    found: dict[str, Folder] | None
    """Folders that this group has shown so far; None: some were shown to another process."""

    def copy(self) -> _State:
        return _State([replace(frame) for frame in self.frames], None if self.found is None else dict(self.found))


@dataclass(slots=True)
class Step:
    """What a page of a walk has shown. `place` None: the walk is over."""

    files: list[tuple[dict[str, Any], str]] = field(default_factory=list)
    """Files and the paths of the folders they are in."""
    folders: list[Folder] = field(default_factory=list)
    place: Place | None = None
    incomplete: bool = False
    short: bool = False
    """A group's answer was caught leaving out what one of its folders holds."""


class WalkMemory(OrderedDict[str, _State]):
    """What is known around recent places; losing it costs requests, nothing else."""

    def keep(self, key: str, state: _State) -> None:
        """Remember; the oldest is forgotten."""
        self[key] = state
        self.move_to_end(key)
        while len(self) > _KEEP:
            self.popitem(last=False)


class Walk:
    """A walk below the folders that `tops` gives; `with_bin`: also what is in the bin."""

    def __init__(
        self,
        client: DriveClient,
        memory: WalkMemory,
        tops: Callable[[], Awaitable[list[Folder]]],
        *,
        name: str,
        drive: str | None,
        alive: Callable[[], Awaitable[None]],
        with_bin: bool = False,
    ) -> None:
        self._client = client
        self._memory = memory
        self._tops = tops
        self._name = name
        self._drive = drive
        self._alive = alive
        self._bin = with_bin

    async def page(self, place: Place, limit: int) -> Step:
        """The page at `place`: at most `limit` files. Raises what `alive` raises when the source itself is gone."""
        step = Step(place=place)
        kept = self._memory.get(self._key(place))
        state = kept.copy() if kept is not None else await self._find(place)
        for _ in range(_REQUESTS):
            if step.files or step.place is None:
                break
            step.place = await self._ask(state, step.place, step, limit)
        if step.place is not None:
            self._memory.keep(self._key(step.place), state)
        return step

    def _key(self, place: Place) -> str:
        return f"{self._name}\t{place.encode()}"

    async def _ask(self, state: _State, place: Place, step: Step, limit: int) -> Place | None:
        """One request, and where to go on."""
        frame = state.frames[-1]
        asked = frame.group if place.alone < 0 else frame.group[place.alone : place.alone + 1]
        if not asked:
            return None
        try:
            answer = await self._children(asked, place.token, min(limit, 1000))
        except Misconfigured as error:
            if place.token and error.status == 400:
                return replace(place, token=None, last="", turn=0, mark="")  # a token that has grown too old
            if error.status != 404:
                raise
            # One of the folders has gone since it was listed.
            if place.alone < 0 and len(asked) > 1:
                await self._alive()
                return replace(place, token=None, shown=0, alone=0, last="", turn=0, mark="")
            await self._gone(asked[0])
            return await self._after(state, replace(place, alone=max(place.alone, 0)))
        except Transient as error:
            if place.token and error.reason == "cursor_refused":
                return replace(place, token=None, last="", turn=0, mark="")
            raise
        place = self._shown(place, self._take(asked, answer, state, step), step)
        step.incomplete |= bool(answer.get("incompleteSearch"))
        if token := answer.get("nextPageToken"):
            return self._turn(place, str(token), answer["files"])
        return await self._after(state, place)

    @staticmethod
    def _shown(place: Place, shown: int, step: Step) -> Place:
        if place.alone < 0:
            return replace(place, shown=place.shown | shown)
        if place.doubt != 1 or not shown:
            return place
        step.short = True
        return replace(place, shown=place.shown | 1 << place.alone, doubt=2)

    async def _gone(self, folder: Folder) -> None:
        """Returns only if it is this folder that is gone, not the root, and not just its listing."""
        await self._alive()
        there = await look_at(self._client, folder.id, keys={folder.id: folder.resource_key})
        if there is not None and not there.get("trashed"):
            raise foreign("a folder that is there and is not found", folder.path)

    def _take(self, asked: Sequence[Folder], answer: Mapping[str, Any], state: _State, step: Step) -> int:
        index = {folder.id: position for position, folder in enumerate(asked)}
        shown = 0
        for file in answer["files"]:
            parents = file.get("parents") or ([asked[0].id] if len(asked) == 1 else [])
            position = next((index[parent] for parent in parents if parent in index), None)
            if position is None or not isinstance(file.get("id"), str):
                raise foreign("a file of another folder", asked[0].path)
            shown |= 1 << position
            parent = asked[position]
            if file.get("mimeType") == FOLDER:
                folder = self._folder(file, parent)
                step.folders.append(folder)
                if state.found is not None:
                    state.found[folder.id] = folder
            else:
                step.files.append((file, parent.path))
        return shown

    @staticmethod
    def _folder(file: Mapping[str, Any], parent: Folder) -> Folder:
        name = safe_name(str(file.get("name") or ""))
        path = f"{parent.path}/{name}" if parent.path else name
        return Folder(str(file["id"]), path, str(file.get("resourceKey") or ""))

    def _turn(self, place: Place, token: str, files: Sequence[Mapping[str, Any]]) -> Place:
        """The next page of the same answer; a listing that runs in circles is none."""
        last = digest(*[str(file["id"]) for file in files]) if files else ""
        here = digest(token)[:8]
        if token == place.token or here == place.mark or (last and last == place.last):
            raise foreign("the same page again")
        turn = place.turn + 1
        mark = here if turn & (turn - 1) == 0 else place.mark
        return replace(place, token=token, last=last, turn=turn, mark=mark)

    async def _after(self, state: _State, place: Place) -> Place | None:
        """Where to go when an answer has been read to its end."""
        frame = state.frames[-1]
        size = len(frame.group)
        silent = (i for i in range(place.alone + 1, size) if not place.shown >> i & 1)
        if size > 1 and (position := next(silent, None)) is not None:
            # What an answer that shows something keeps silent about is an alarm if it has children after all.
            counts = place.alone < 0 and place.shown.bit_count() > 1
            return Place(place.levels, shown=place.shown, alone=position, doubt=place.doubt or int(counts))
        doubt = place.doubt & 2
        found = state.found if state.found is not None else await self._folders_below(frame.group, doubt)
        frame.below = _sorted(found.values())
        return self._descend(state, doubt)

    def _descend(self, state: _State, doubt: int) -> Place | None:
        """Into the folders below, else to the next ones beside, else up."""
        frames, after = state.frames, ""
        while frames:
            low, group = after, _cut(frames[-1].below, after, 1 if doubt else _GROUP)
            if group:
                frames.append(_Frame(low, group[-1].order, group))
                state.found = {}
                if len(frames) > _MAX_DEPTH:
                    raise foreign("folders in a circle", group[0].path)
                levels = "".join((frame.low or "0" * 8) + frame.high for frame in frames[1:])
                return Place(levels, doubt=doubt)
            after = frames.pop().high
        return None

    async def _find(self, place: Place) -> _State:
        """What is around a place that this process has not walked to itself."""
        tops = _sorted(await self._tops())
        frames = [_Frame("", "f" * 8, tops)]
        for start in range(0, len(place.levels), 16):
            low, high = place.levels[start : start + 8], place.levels[start + 8 : start + 16]
            frame = frames[-1]
            frame.below = _sorted((await self._folders_below(frame.group, place.doubt & 2)).values())
            group = tuple(f for f in frame.below if (low == "0" * 8 or low < f.order) and f.order <= high)
            frames.append(_Frame("" if low == "0" * 8 else low, high, group))
        fresh = place.token is None and place.alone < 0 and not place.shown
        state = _State(frames, {} if fresh else None)
        if not frames[-1].group and len(frames) > 1:
            # All of the group has gone meanwhile: nothing to ask, go on beside it.
            state.found = {}
            frames[-1].group = ()
        return state

    async def _folders_below(self, group: Sequence[Folder], doubt: int) -> dict[str, Folder]:
        found: dict[str, Folder] = {}
        queue: list[Sequence[Folder]] = [[folder] for folder in group] if doubt else [group] if group else []
        while queue:
            asked = queue.pop()
            token: str | None = None
            step = Step()
            shown = 0
            while True:
                try:
                    answer = await self._children(asked, token, 1000, only_folders=True)
                except Misconfigured as error:
                    if error.status != 404:
                        raise
                    if len(asked) == 1:
                        await self._gone(asked[0])
                    shown = 0
                    break
                shown |= self._take(asked, answer, _State([], found), step)
                token = answer.get("nextPageToken")
                if not token:
                    break
            if len(asked) > 1:
                silent = [folder for i, folder in enumerate(asked) if not shown >> i & 1]
                queue += [[folder] for folder in await self._doubtful(silent, found, trust=shown.bit_count() > 1)]
        return found

    async def _doubtful(self, silent: Sequence[Folder], found: dict[str, Folder], *, trust: bool) -> Sequence[Folder]:
        """Which of a group's silent folders are to be asked alone: none where a sample of them has nothing either."""
        if not trust or not silent:
            return silent
        before = len(found)
        place = zlib.crc32(silent[0].id.encode()) % len(silent)
        found |= await self._folders_below(silent[place : place + 1], 0)
        return [] if len(found) == before else [*silent[:place], *silent[place + 1 :]]

    async def _children(
        self, asked: Sequence[Folder], token: str | None, size: int, *, only_folders: bool = False
    ) -> dict[str, Any]:
        query = " or ".join(f"{quoted(folder.id)} in parents" for folder in asked)
        query = f"({query})" if len(asked) > 1 else query
        if only_folders:
            query += f" and mimeType = '{FOLDER}'"
        if not self._bin:
            query += " and trashed = false"
        answer = await self._client.call(
            "files.list",
            q=query,
            fields=f"nextPageToken,incompleteSearch,files({FIELDS})",
            pageSize=size,
            pageToken=token,
            keys={folder.id: folder.resource_key for folder in asked if folder.resource_key},
            path=asked[0].path or asked[0].id,
            **corpus(self._drive),
        )
        if not isinstance(answer.get("files"), list) or len(answer["files"]) > size:
            raise foreign("no list of files", asked[0].path)
        return answer


def _sorted(folders: Iterable[Folder]) -> tuple[Folder, ...]:
    return tuple(sorted(folders, key=lambda folder: (folder.order, folder.id)))


def _cut(folders: Sequence[Folder], after: str, size: int) -> tuple[Folder, ...]:
    """The next group: folders that share a digest stay together."""
    rest = [folder for folder in folders if folder.order > after]
    group = rest[:size]
    return tuple(group + [folder for folder in rest[size:] if folder.order == group[-1].order])
