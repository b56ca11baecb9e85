"""`cent` from PyPI, which publishes and asks over HTTP."""

import json
import sys

import cent

client = cent.Client(*sys.argv[1:])


def publish(channel, data, key=None):
    request = cent.PublishRequest(channel=channel, data=data, idempotency_key=key)
    return {"offset": client.publish(request).offset}


def presence(channel):
    members = client.presence(cent.PresenceRequest(channel=channel)).presence
    return {"users": [member.user for member in members.values()]}


def presence_stats(channel):
    stats = client.presence_stats(cent.PresenceStatsRequest(channel=channel))
    return {"clients": stats.num_clients, "users": stats.num_users}


def history(channel):
    page = client.history(cent.HistoryRequest(channel=channel, limit=-1))
    publications = [[publication.offset, publication.data] for publication in page.publications]
    return {"publications": publications, "epoch": page.epoch, "offset": page.offset}


def disconnect(user, code, reason):
    what = cent.Disconnect(code=code, reason=reason)
    client.disconnect(cent.DisconnectRequest(user=user, disconnect=what))
    return {}


VERBS = {verb.__name__: verb for verb in [publish, presence, presence_stats, history, disconnect]}
for line in sys.stdin:
    command = json.loads(line)
    number, verb = command.pop("id"), command.pop("do")
    try:
        answer = VERBS[verb](**command)
    except cent.CentApiResponseError as error:
        answer = {"error": error.code}
    except cent.CentError as error:
        answer = {"error": str(error)}
    print(json.dumps({"reply": number, **answer}), flush=True)
