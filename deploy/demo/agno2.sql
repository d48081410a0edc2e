-- Agno's tables as release 2 makes them, as far as a session reaches into them: its runs are a column of its own. (Its
-- package makes them in the tests.)

create schema ai;

create table ai.agno_sessions (
    session_id text primary key,
    -- agent, team or workflow.
    session_type text not null,
    agent_id text,
    team_id text,
    workflow_id text,
    user_id text,
    session_data jsonb,
    agent_data jsonb,
    team_data jsonb,
    workflow_data jsonb,
    metadata jsonb,
    runs jsonb,
    summary jsonb,
    created_at bigint not null,
    updated_at bigint
);
create index agno_sessions_session_type on ai.agno_sessions (session_type);
create index agno_sessions_created_at on ai.agno_sessions (created_at);

-- Left behind by agno's own delete; the plan removes it only where it opts in.
create table ai.agno_learnings (
    learning_id text primary key,
    session_id text,
    content jsonb not null,
    created_at bigint not null
);
