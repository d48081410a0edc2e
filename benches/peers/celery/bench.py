"""A saga is a chain of four tasks. A worker with nothing to consume is started first, and the clock with the word to
consume the queue of the chains."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from importlib.metadata import version
from pathlib import Path

os.environ["PEER_QUEUE"] = queue = f"peer-{uuid.uuid4()}"
name = "worker@" + queue
import psycopg
from celery import chain
from work import app, step1, step2, step3, step4

sagas = int(sys.argv[1])
sys.excepthook = lambda kind, error, _: print(f"celery: {kind.__name__}: {str(error).split(chr(10))[0]}", file=sys.stderr)


def main():
    # Makes the tables, before several processes would at once.
    app.backend.get_state("none")
    last = [chain(*(step.si() for step in (step1, step2, step3, step4))).apply_async().id for _ in range(sagas)]
    worker = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "celery", "-A", "work", "worker", "-Q", queue + "-idle", "-n", name, "-l", "error",
         "-c", "8", "-O", "fair", "--without-gossip", "--without-mingle", "--without-heartbeat"],
        cwd=Path(__file__).parent, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        while not app.control.ping(destination=[name], timeout=0.5):
            if worker.poll() is not None:
                sys.exit(f"celery: the worker ended with {worker.returncode}")
        with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as pg:
            started = time.perf_counter()
            app.control.add_consumer(queue, destination=[name])
            while count(pg, "select count(*) from celery_taskmeta where status = 'SUCCESS'") < 4 * sagas:
                if worker.poll() is not None:
                    sys.exit(f"celery: the worker ended with {worker.returncode}")
                time.sleep(0.05)
            seconds = time.perf_counter() - started
            done = count(pg, "select count(*) from celery_taskmeta where status = 'SUCCESS' and task_id = any(%s)", last)
            steps = count(pg, "select count(distinct task_id) from celery_taskmeta where status = 'SUCCESS'")
    finally:
        # Quit at once, with its processes: nothing is left to do, or something failed.
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
        with app.connection_for_write() as connection:
            for each in (queue, queue + "-idle"):
                connection.default_channel.queue_delete(each)
    if done != sagas or steps != 4 * sagas:
        sys.exit(f"celery: {done} sagas finished, with {steps} steps; wanted {sagas}")
    print(json.dumps({"peer": "celery", "version": version("celery"), "sagas": sagas,
                      "seconds": round(seconds, 3), "preloaded": True}))


def count(pg, query, *values):
    return pg.execute(query, [list(value) for value in values] or None).fetchone()[0]


for one in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(one, lambda *_: sys.exit("celery: told to stop"))
main()
