"""`pysher` from PyPI."""

import json
import sys
import threading

import pysher

HOST, PORT, KEY, SECRET, USER = sys.argv[1:]
lock = threading.Lock()


def say(value):
    with lock:
        print(json.dumps(value), flush=True)


class Session:
    def __init__(self):
        self.subscribed, self.users = threading.Event(), []

    def connect(self):
        user = {"user_id": USER, "user_info": {"name": f"{USER}!"}}
        self.pusher = pysher.Pusher(
            KEY, secret=SECRET, user_data=user, secure=False, custom_host=HOST, port=int(PORT), reconnect_interval=1
        )
        connected = threading.Event()

        def connect(_):
            say({"event": "connected"})
            # When it comes back it does not sign anew by itself.
            for channel in list(self.pusher.channels):
                self.ask_for(channel)
            connected.set()

        self.pusher.connection.bind("pusher:connection_established", connect)
        self.pusher.connect()
        if not connected.wait(30):
            return {"error": "it did not connect"}
        return {}

    def ask_for(self, channel):
        if channel in self.pusher.channels:
            self.pusher.unsubscribe(channel)
        on = self.pusher.subscribe(channel)

        def succeed(data):
            self.users[:] = json.loads(data).get("presence", {}).get("ids", [])
            say({"event": "subscribed", "channel": channel})
            self.subscribed.set()

        member = lambda data: json.loads(data)["user_id"]
        on.bind("pusher_internal:subscription_succeeded", succeed)
        on.bind("pusher_internal:member_added", lambda data: say({"event": "member_added", "channel": channel, "user": member(data)}))
        on.bind("pusher_internal:member_removed", lambda data: say({"event": "member_removed", "channel": channel, "user": member(data)}))
        for name in ["client-said", "said", "message"]:
            on.bind(name, lambda data, name=name: say({"event": "heard", "channel": channel, "name": name, "data": read(data)}))

    def subscribe(self, channel):
        self.subscribed.clear()
        self.ask_for(channel)
        if not self.subscribed.wait(30):
            return {"error": "it was not let in"}
        return {"users": self.users}

    def trigger(self, channel, event, data):
        self.pusher.channel(channel).trigger(event, data)
        return {}


def read(data):
    try:
        return json.loads(data)
    except ValueError:
        return data


session = Session()
for line in sys.stdin:
    command = json.loads(line)
    number, verb = command.pop("id"), command.pop("do")
    try:
        answer = getattr(session, verb)(**command)
    except Exception as error:
        answer = {"error": repr(error)}
    say({"reply": number, **answer})
