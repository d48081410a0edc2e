"""A saga is one workflow with four steps, taken from a queue. All are in the queue before DBOS starts to take from it."""

import json
import os
import sys
import time
from importlib.metadata import version

import sqlalchemy as sa
from dbos import DBOS, DBOSClient, DBOSConfig

sagas = int(sys.argv[1])
sys.excepthook = lambda kind, error, _: print(f"dbos-py: {kind.__name__}: {str(error).split(chr(10))[0]}", file=sys.stderr)
url = os.environ["DATABASE_URL"].replace("postgres://", "postgresql://", 1)
engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1))
config = DBOSConfig(name="peer", system_database_url=url, sys_db_pool_size=20, log_level="ERROR",
                    application_version="1", use_listen_notify=True)


def start():
    DBOS(config=config)

    @DBOS.step()
    async def step(number):
        pass

    @DBOS.workflow(name="saga")
    async def saga():
        for number in (1, 2, 3, 4):
            await step(number)

    DBOS.launch()


def count(query):
    with engine.connect() as connection:
        return connection.execute(sa.text(query)).scalar_one()


# The first start makes the tables.
start()
DBOS.destroy(destroy_registry=True)
client = DBOSClient(system_database_url=url)
client.register_queue("sagas", worker_concurrency=100, polling_interval_sec=0.1)
with engine.begin() as connection:
    for _ in range(sagas):
        client.enqueue_in_transaction(connection, {"workflow_name": "saga", "queue_name": "sagas"})

started = time.perf_counter()
start()
succeeded = "select count(*) from dbos.workflow_status where name = 'saga' and status = 'SUCCESS'"
while count(succeeded) < sagas:
    time.sleep(0.02)
seconds = time.perf_counter() - started
steps = count("select count(distinct (workflow_uuid, function_id)) from dbos.operation_outputs")
if count(succeeded) != sagas or steps != 4 * sagas:
    sys.exit(f"dbos-py: {count(succeeded)} sagas finished, with {steps} steps; wanted {sagas}")
DBOS.destroy()
print(json.dumps({"peer": "dbos-py", "version": version("dbos"), "sagas": sagas,
                  "seconds": round(seconds, 3), "preloaded": True}))
