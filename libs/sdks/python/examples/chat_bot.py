"""A bot as people run it in a chat: `!draw a red apple` is answered with the picture; users draw beside each other.

Here the chat is stdin and stdout, a line a message: `USER !draw PROMPT`. A Discord library calls `Bot.hear` as well.

usage: echo "ann !draw a red apple" | python chat_bot.py pictures/
"""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path

from imagineo_client import AsyncImagineo, ImagineoError, TooManyRequestsError, WaitTimeoutError
from imagineo_client.types.requests import GenerateOptions

Say = Callable[[str, str], Awaitable[None]]


class Bot:
    """Draws for a chat: one run a user at a time, the rest of theirs waits."""

    def __init__(self, client: AsyncImagineo, say: Say, folder: Path, *, size: int = 512, steps: int = 20) -> None:
        self._client = client
        self._say = say
        self._folder = folder
        self._shape: GenerateOptions = {"width": size, "height": size, "steps": steps}
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def hear(self, user: str, message: str) -> None:
        """Answer one message, if it is for the bot."""
        command, _, prompt = message.strip().partition(" ")
        if command != "!draw":
            return
        if not prompt:
            await self._say(user, "Tell me what: !draw a red apple")
            return
        async with self._turns[user]:
            await self._say(user, await self._answer(user, prompt))

    async def _answer(self, user: str, prompt: str) -> str:
        try:
            options: GenerateOptions = {**self._shape, "metadata": {"user": user}}
            run = await self._client.generate(prompt, **options)
            await run.wait(timeout_s=120)
            return str(await run.save(self._folder / f"{run.id}.png"))
        except TooManyRequestsError as problem:
            return f"I am busy, ask again in {problem.retry_after_s or 60:.0f} s."
        except WaitTimeoutError:
            return "That took too long, I stopped it."
        except ImagineoError as problem:
            return f"I cannot draw that: {problem}"


async def main(folder: Path) -> None:
    """Chat until stdin ends."""

    async def say(user: str, text: str) -> None:
        print(f"{user}: {text}", flush=True)

    async with AsyncImagineo() as client:
        bot, answers = Bot(client, say, folder), set[asyncio.Task[None]]()
        while line := await asyncio.to_thread(sys.stdin.readline):
            user, _, message = line.partition(" ")
            answers.add(asyncio.create_task(bot.hear(user, message)))
        await asyncio.gather(*answers)


if __name__ == "__main__":
    kept = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    try:
        kept.mkdir(parents=True, exist_ok=True)
        asyncio.run(main(kept))
    except (OSError, ImagineoError) as problem:
        sys.exit(str(problem))
