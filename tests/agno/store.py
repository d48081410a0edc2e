"""A real store of agno's, through agno's own interface: filled from a seed, asked, and written to late.

    store.py fill  URL COUNT     COUNT agent, team and workflow sessions with runs, of three users
    store.py ask   URL           what agno itself still finds, as JSON: {session: {type, user, runs}}
    store.py late  URL ID        a run of a deleted session that ends late and writes its session back
    store.py own   URL ID...     agno's own delete

The same for agno 2.9 (runs are a column of the session) and 3.1 (runs are rows).
"""

import json
import sys
from datetime import datetime, timezone

from agno.db.base import SessionType
from agno.db.postgres import PostgresDb
from agno.run.agent import RunOutput
from agno.run.team import TeamRunOutput
from agno.run.workflow import WorkflowRunOutput
from agno.session import AgentSession, TeamSession, WorkflowSession
from agno.tracing.schemas import Span, Trace

USERS = ["u_ann", "u_bob", None]
THEN = 1_760_000_000


def database(url):
    return PostgresDb(db_url=url.replace("postgres://", "postgresql+psycopg://").replace("postgresql://", "postgresql+psycopg://"))


def session(number):
    """The session of this number, with its runs."""
    kind = ["agent", "team", "workflow"][number % 3]
    name, user = f"{kind}_{number:05}", USERS[number // 3 % len(USERS)]
    runs = 1 + number % 4
    if kind == "agent":
        made = [RunOutput(run_id=f"{name}_r{n}", agent_id="a", session_id=name, user_id=user, content=f"said {n}") for n in range(runs)]
        return AgentSession(session_id=name, agent_id="a", user_id=user, runs=made, created_at=THEN + number)
    if kind == "team":
        made = [TeamRunOutput(run_id=f"{name}_r{n}", team_id="t", session_id=name, user_id=user, content=f"said {n}") for n in range(runs)]
        return TeamSession(session_id=name, team_id="t", user_id=user, runs=made, created_at=THEN + number)
    made = [WorkflowRunOutput(run_id=f"{name}_r{n}", workflow_id="w", session_id=name, user_id=user, content=f"said {n}") for n in range(runs)]
    return WorkflowSession(session_id=name, workflow_id="w", user_id=user, runs=made, created_at=THEN + number)


def write(db, made):
    db.upsert_session(made)
    if hasattr(db, "upsert_run"):
        for index, run in enumerate(made.runs):
            db.upsert_run(run, session_id=made.session_id, user_id=made.user_id, run_index=index)


def beside(db, name, user):
    """What agno keeps of a session elsewhere: some of it goes with its own delete, some is left behind."""
    now = datetime.fromtimestamp(THEN, timezone.utc)
    db.upsert_trace(Trace(trace_id=f"{name}_t", name="run", status="OK", start_time=now, end_time=now, duration_ms=1, total_spans=1,
                          error_count=0, run_id=f"{name}_r0", session_id=name, user_id=user, agent_id="a", team_id=None,
                          workflow_id=None, created_at=now))
    db.create_span(Span(span_id=f"{name}_s", trace_id=f"{name}_t", parent_span_id=None, name="run", span_kind="INTERNAL",
                        status_code="OK", status_message=None, start_time=now, end_time=now, duration_ms=1, attributes={}, created_at=now))
    db.upsert_learning(id=f"{name}_l", learning_type="session_context", content={"note": "kept"}, session_id=name)
    if hasattr(db, "upsert_tool_result"):
        db.upsert_tool_result({"result_id": f"{name}_x", "namespace": "n", "path": name, "session_id": name, "run_id": f"{name}_r0",
                               "tool_call_id": "c", "tool_name": "tool", "args_hash": "h", "content_type": "text/plain",
                               "size_bytes": 4, "line_count": 1, "preview": "said", "created_at": THEN})
    if hasattr(db, "upsert_compaction"):
        db.upsert_compaction({"compaction_id": f"{name}_c", "session_id": name, "summary": "short", "created_at": THEN})
    if hasattr(db, "append_transcript_entries"):
        db.append_transcript_entries("framework", "project", f"{name}_external", [{"uuid": f"{name}_e", "text": "said"}], name)


def fill(db, count):
    for number in range(count):
        made = session(number)
        write(db, made)
        if number % 10 == 0:
            beside(db, made.session_id, made.user_id)


def ask(db):
    found = {}
    for kind in SessionType:
        for one in db.get_sessions(session_type=kind):
            whole = db.get_session(one.session_id, session_type=kind)
            found[one.session_id] = {"type": kind.value, "user": one.user_id, "runs": sorted(run.run_id for run in whole.runs or [])}
    json.dump(found, sys.stdout)


def main():
    what, db, rest = sys.argv[1], database(sys.argv[2]), sys.argv[3:]
    if what == "fill":
        fill(db, int(rest[0]))
    elif what == "ask":
        ask(db)
    elif what == "late":
        write(db, session(int(rest[0].rsplit("_", 1)[1])))
    elif what == "own":
        db.delete_sessions(session_ids=rest)


main()
