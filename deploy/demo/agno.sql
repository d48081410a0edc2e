-- Agno's tables as release 3 makes them, as far as a session reaches into them. (Its package makes them in the tests.)

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
    summary jsonb,
    created_at bigint not null,
    updated_at bigint
);

create table ai.agno_runs (
    run_id text primary key,
    session_id text not null references ai.agno_sessions (session_id) on delete cascade,
    run_type text not null,
    user_id text,
    status text,
    run_index bigint,
    run_data jsonb not null,
    created_at bigint not null,
    updated_at bigint
);
create index agno_runs_session_id on ai.agno_runs (session_id, run_index);

create table ai.agno_transcripts (
    framework text not null,
    project_key text not null,
    session_id text not null,
    subpath text not null,
    position bigint not null,
    entry text not null,
    -- The session it belongs to; `session_id` is the other framework's own.
    agno_session_id text not null,
    created_at bigint not null,
    primary key (framework, project_key, session_id, subpath, position)
);
create index agno_transcripts_agno_session_id on ai.agno_transcripts (agno_session_id);

create table ai.agno_compactions (
    compaction_id text primary key,
    session_id text not null,
    summary text,
    created_at bigint not null
);

create table ai.agno_tool_results (
    result_id text primary key,
    session_id text not null,
    namespace text not null,
    path text not null,
    created_at bigint not null
);

-- Left behind by agno's own delete; the plan removes it only where it opts in.
create table ai.agno_learnings (
    learning_id text primary key,
    session_id text,
    content jsonb not null,
    created_at bigint not null
);
