"""A program as users write them: an agent with a tool. It knows nothing of cassettes."""

import asyncio
import sys

from agents import Agent, Runner, function_tool
from openai.types.responses import ResponseTextDeltaEvent


@function_tool
def get_weather(city: str) -> str:
    """Tell the weather in a city."""
    return {"Rome": "sunny", "Oslo": "snowy"}[city]


async def main() -> None:
    agent = Agent(name="Weather", model="gpt-5.2", tools=[get_weather])
    result = await Runner.run(agent, "How is the weather?")
    sys.stdout.write(f"{result.final_output}\n")
    streamed = Runner.run_streamed(agent, "How is the weather, once more?")
    async for event in streamed.stream_events():
        if event.type == "raw_response_event" and isinstance(event.data, ResponseTextDeltaEvent):
            sys.stdout.write(f"{event.data.delta}|")
    sys.stdout.write(f"\n{streamed.context_wrapper.usage.total_tokens} tokens\n")


if __name__ == "__main__":
    asyncio.run(main())
    sys.exit(3)
