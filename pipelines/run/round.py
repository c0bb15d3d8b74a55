"""Runs one round: its stages in order, each on the executor; finished work is not repeated."""

from __future__ import annotations

from ...contracts.training import Train
from ..plan.nodes import PlannedStep
from ..store.mending import repair
from ..store.step_store import StepStore
from .chain_stage import ChainStage
from .executor import Executor
from .serving import served
from .session import Session
from .single_stage import SingleStage
from .stages import Stage, stages


class RoundExecution:
    """One plan being carried out."""

    def __init__(self, session: Session, executor: Executor, *, retry_failed: bool = False) -> None:
        self.session = session
        self.executor = executor
        self.retry_failed = retry_failed

    async def run(self) -> None:
        """Run every stage that is not complete. Raises the error that stops the run."""
        self._repair()
        todo = stages(self.session.plan, self.session.run)
        for number, stage in enumerate(todo):
            await self._stage(stage)
            await self.executor.release(self._needed(todo[number + 1 :]))

    async def _stage(self, stage: Stage) -> None:
        if stage.is_chain:
            chain = ChainStage(self.session, stage, self.executor)
            chain.drop_outdated()
            work = chain.run
        else:
            single = SingleStage(self.session, stage, self.executor)
            single.drop_outdated()
            work = single.run
        if all(self._store(step).complete for step in stage.steps):
            for step in stage.steps:
                self.session.done(step, reused=True)
        else:
            await work()

    def _repair(self) -> None:
        """Set a damaged file aside, so that only this file is made again."""
        failed: list[str] = []
        for stage in stages(self.session.plan, self.session.run):
            for step in stage.steps:
                store = self._store(step)
                for told in repair(store, stage.basis, self.session.replaced(step)):
                    self.session.notice(f"step {step.name}: {told}", warning=True)
                if self.retry_failed and (rows := _drop_failed(store)):
                    failed.append(f"{rows:,} of {step.name}")
        if self.retry_failed and (failed or self.session.plan.round == 1):
            self.session.notice(f"failed rows to try again: {', '.join(failed) or 'none'}")

    def _store(self, step: PlannedStep) -> StepStore:
        return self.session.run.step(step.name, step.fingerprint)

    def _needed(self, coming: list[Stage]) -> set[str]:
        """Models whose engines are kept running, and embedding models that are kept loaded: those used again
        before the next training, and resident ones that are used again at all.
        """
        needed: set[str] = set()
        trained = False
        for stage in coming:
            if isinstance(stage.head.operator, Train):
                trained = True
                continue
            needed |= {
                name for name in stage.models if not trained or served(self.session.plan, name).resident
            }
            needed |= set() if trained else stage.embedders
        return needed


def _drop_failed(store: StepStore) -> int:
    """Drop the parts with failed rows. Returns the number of failed rows in them."""
    failed = [part for part in store.parts() if part.ledger.failed]
    store.drop(*failed)
    return sum(part.ledger.failed for part in failed)
