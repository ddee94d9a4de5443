"""The listing activity: where a run's listing begins and is handed over."""

from __future__ import annotations

from temporalio import activity

from activities.contracts import Counts
from activities.engine import Engine
from activities.hand_back import Stop, run_until_handed_back
from activities.pages import Listing, is_ordered
from activities.run_contracts import ListArgs, ListResult

__all__ = ["PageActivities"]


class PageActivities:
    """`list_pages`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @activity.defn(name="list_pages")
    async def list_pages(self, args: ListArgs) -> ListResult:
        """List and compare on from `args.segments`; see `Listing`."""
        context = await self._engine.open_sync(args.sync_config_id)
        if wait := context.throttled_for():
            return ListResult(segments=args.segments, retry_after=wait, counts=Counts(throttle_waits=1))
        stop = Stop()
        listing = Listing(
            self._engine,
            context,
            args,
            stop,
            attempt=activity.info().attempt,
            ordered=is_ordered(context) and not args.incremental,
        )
        return await run_until_handed_back(listing.run(), stop)
