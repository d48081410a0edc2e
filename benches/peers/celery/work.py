"""What the worker loads: four tasks, a broker that confirms, results in Postgres."""

import os

from celery import Celery
from kombu import Queue

app = Celery("peer", broker=os.environ["AMQP_URL"])
app.conf.update(
    result_backend="db+postgresql+psycopg://" + os.environ["DATABASE_URL"].split("://", 1)[1],
    task_queues=[Queue(os.environ["PEER_QUEUE"], durable=True), Queue(os.environ["PEER_QUEUE"] + "-idle", durable=True)],
    task_default_queue=os.environ["PEER_QUEUE"],
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    broker_transport_options={"confirm_publish": True},
    worker_prefetch_multiplier=32,
    worker_send_task_events=False,
)


@app.task(ignore_result=False)
def step1():
    pass


@app.task(ignore_result=False)
def step2():
    pass


@app.task(ignore_result=False)
def step3():
    pass


@app.task(ignore_result=False)
def step4():
    pass
