-- Sessions of somebody else's service, which may be removed only while nobody has started them.

create table sessions (
    session_key text primary key,
    account text not null,
    -- The token that the session was created with; only with it can it be removed.
    token text not null,
    -- Only IDLE means: not started.
    status text not null check (status in ('IDLE', 'STARTED', 'FINISHED')),
    created_at timestamptz not null default now()
);
create index sessions_account on sessions (account);
