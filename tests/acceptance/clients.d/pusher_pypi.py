"""`pusher` from PyPI, which publishes and asks over HTTP."""

import json
import sys

import pusher

HOST, PORT, KEY, SECRET = sys.argv[1:]
client = pusher.Pusher(app_id="1", key=KEY, secret=SECRET, host=HOST, port=int(PORT), ssl=False)


class Verbs:
    def trigger(self, channel, event, data, socket=None):
        client.trigger(channel, event, data, socket)
        return {}

    def users(self, channel):
        return {"users": [user["id"] for user in client.users_info(channel)["users"]]}

    def webhook(self, headers, body):
        told = client.validate_webhook(headers["x-pusher-key"], headers["x-pusher-signature"], body)
        return {"events": told["events"] if told else []}

    def terminate(self, user):
        client.terminate_user_connections(user)
        return {}


verbs = Verbs()
for line in sys.stdin:
    command = json.loads(line)
    number, verb = command.pop("id"), command.pop("do")
    try:
        answer = getattr(verbs, verb)(**command)
    except Exception as error:
        answer = {"error": repr(error)}
    print(json.dumps({"reply": number, **answer}), flush=True)
