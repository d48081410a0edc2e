"""agno's own AgentOS over stores of agno's, to be held against: its answers are what a client of it knows.

    serve.py PORT KEY DB_ID=URL...     serves until it is told to end
"""

import os
import sys

port, key, databases = int(sys.argv[1]), sys.argv[2], dict(pair.split("=", 1) for pair in sys.argv[3:])
os.environ["OS_SECURITY_KEY"] = key
# Nobody is told that it runs.
os.environ["AGNO_TELEMETRY"] = "false"

import uvicorn
from agno.agent import Agent
from agno.db.postgres import PostgresDb
from agno.models.base import Model
from agno.os import AgentOS


def database(name, url):
    driver = url.replace("postgres://", "postgresql+psycopg://").replace("postgresql://", "postgresql+psycopg://")
    return PostgresDb(id=name, db_url=driver)


# Nobody runs an agent here: a model that cannot be asked spares the package of one that can.
Silent = type("Silent", (Model,), {name: None for name in Model.__abstractmethods__})
agents = [Agent(id=name, model=Silent(id="none"), db=database(name, url)) for name, url in databases.items()]
app = AgentOS(agents=agents, telemetry=False).get_app()
uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")
