#!/usr/bin/env python3
"""An outside worker: does the tasks of one type of node. `python3 examples/worker.py search`

Needs the module redis (`apt install python3-redis`). Any number of workers may share a type.
"""
import json, os, socket, sys
import redis

TYPE = sys.argv[1] if len(sys.argv) > 1 else "search"
STREAM, GROUP = f"wf.tasks.{TYPE}", f"{TYPE}_workers"
NAME = f"{socket.gethostname()}-{os.getpid()}"
DEAD_AFTER_MS = int(os.environ.get("DEAD_AFTER_MS", 60_000))  # Longer than a task ever takes: then its worker is dead.

db = redis.Redis(os.environ.get("REDIS_HOST", "127.0.0.1"), int(os.environ.get("REDIS_PORT", 6379)),
                 password=os.environ.get("REDIS_PASSWORD"), decode_responses=True)


def signal(token, status, **more):
    db.rpush("completion_signals", json.dumps({"version": "1.0", "job_id": token["id"], "run_id": token["run_id"],
                                               "node_id": token["to_node"], "status": status, **more}))


def work(token, payload):
    """Yours to write. It may be called twice for one token: let token["id"] be the key of what must happen once."""
    signal(token, "progress", metadata={"percent": 50, "message": "half of it"})
    return {"found": [f"{payload.get('city', 'somewhere')}-{n}" for n in (1, 2, 3)]}


try:
    db.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
except redis.ResponseError:
    pass  # There is one already.
while True:
    entries = db.xautoclaim(STREAM, GROUP, NAME, DEAD_AFTER_MS, count=1)[1]  # What a dead worker left, ...
    if not entries:  # ... or what is new.
        entries = [entry for _, found in db.xreadgroup(GROUP, NAME, {STREAM: ">"}, count=1, block=1000) for entry in found]
    for entry, fields in entries:
        try:
            token = json.loads(fields["token"])
        except (TypeError, KeyError, ValueError):
            token = None  # It was taken back while nobody had it, or is none.
        if isinstance(token, dict):
            try:
                payload = json.loads(db.get("cas:" + token["payload_ref"]))
                signal(token, "completed", result_data=work(token, payload))
            except redis.RedisError:
                raise  # Nothing was acknowledged: whoever comes next has the task again.
            except Exception as error:
                signal(token, "failed", metadata={"error": str(error)})
        db.xack(STREAM, GROUP, entry)
