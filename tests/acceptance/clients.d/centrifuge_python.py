"""`centrifuge-python` from PyPI, in JSON or Protobuf."""

import asyncio
import base64
import json
import sys

import centrifuge

URL, ENCODING = sys.argv[1:]
PROTOBUF = ENCODING == "protobuf"


def say(value):
    print(json.dumps(value), flush=True)


def read(data):
    # Protobuf carries bytes and JSON values.
    if not PROTOBUF:
        return data
    try:
        return json.loads(data)
    except ValueError:
        return {"bytes": base64.b64encode(data).decode()}


class ClientEvents(centrifuge.ClientEventHandler):
    async def on_connecting(self, ctx):
        say({"event": "connecting", "code": ctx.code})

    async def on_connected(self, ctx):
        say({"event": "connected"})

    async def on_disconnected(self, ctx):
        say({"event": "disconnected", "code": ctx.code})


class SubscriptionEvents(centrifuge.SubscriptionEventHandler):
    def __init__(self, channel):
        self.channel = channel
        self.refused = asyncio.get_running_loop().create_future()

    async def on_subscribed(self, ctx):
        told = {"was_recovering": ctx.was_recovering, "recovered": ctx.recovered}
        say({"event": "subscribed", "channel": self.channel, **told})

    async def on_unsubscribed(self, ctx):
        if not self.refused.done():
            self.refused.set_result(ctx.code)

    async def on_publication(self, ctx):
        say({"event": "heard", "channel": self.channel, "data": read(ctx.pub.data), "offset": ctx.pub.offset})

    async def on_join(self, ctx):
        say({"event": "join", "channel": self.channel, "user": ctx.info.user})


class Session:
    async def connect(self, token, fresh):
        async def get_token():
            return fresh

        self.client = centrifuge.Client(
            URL, events=ClientEvents(), token=token, get_token=get_token, use_protobuf=PROTOBUF, proxy=None
        )
        await self.client.connect()
        await self.client.ready()
        return {}

    async def subscribe(self, channel, token=None):
        events = SubscriptionEvents(channel)
        settings = {"token": token} if token else {}
        subscription = self.client.new_subscription(
            channel, events=events, recoverable=True, join_leave=True, **settings
        )
        await subscription.subscribe()
        ready = asyncio.ensure_future(subscription.ready())
        await asyncio.wait([ready, events.refused], return_when=asyncio.FIRST_COMPLETED)
        if events.refused.done():
            ready.cancel()
            return {"error": events.refused.result()}
        await ready
        return {}

    async def unsubscribe(self, channel):
        await self.client.get_subscription(channel).unsubscribe()
        return {}

    async def publish(self, channel, data):
        await self.client.publish(channel, json.dumps(data).encode() if PROTOBUF else data)
        return {}

    async def presence(self, channel):
        members = (await self.client.presence(channel)).clients
        return {"users": [member.user for member in members.values()]}

    async def presence_stats(self, channel):
        stats = await self.client.presence_stats(channel)
        return {"clients": stats.num_clients, "users": stats.num_users}

    async def history(self, channel):
        page = await self.client.history(channel, limit=-1)
        publications = [[publication.offset, read(publication.data)] for publication in page.publications]
        return {"publications": publications, "epoch": page.epoch, "offset": page.offset}


async def main():
    session, loop = Session(), asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)

    async def obey(command):
        number, verb = command.pop("id"), command.pop("do")
        try:
            answer = await getattr(session, verb)(**command)
        except centrifuge.ReplyError as error:
            answer = {"error": error.code}
        except centrifuge.CentrifugeError as error:
            answer = {"error": repr(error)}
        say({"reply": number, **answer})

    tasks = set()
    async for line in lines:
        tasks.add(asyncio.create_task(obey(json.loads(line))))


asyncio.run(main())
