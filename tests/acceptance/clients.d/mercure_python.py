"""`mercure-publisher` from PyPI."""

import json
import sys

from mercure_publisher import MercureConfig, MercurePublisher, MercurePublisherError

URL, KEY, TOPIC = sys.argv[1:]

with MercurePublisher(MercureConfig(hub_url=URL, publisher_jwt_key=KEY, publish_topics=[TOPIC])) as publisher:
    for line in sys.stdin:
        command = json.loads(line)
        number, _ = command.pop("id"), command.pop("do")
        try:
            answer = {"id": publisher.publish(**command)}
        except MercurePublisherError as error:
            answer = {"error": repr(error)}
        print(json.dumps({"reply": number, **answer}), flush=True)
