-- Sessions of somebody else's service, and what was done in them: the job history, which may be very long.

create table sessions (
    id text primary key,
    team text not null,
    user_id text not null,
    name text not null,
    -- The fence: from here on no new job. Taken back when a deletion is cancelled.
    deleting_at timestamptz null,
    -- The generation of the last deletion that wrote here; an older one, from a process that slept, changes nothing.
    generation bigint not null default 0
);

create table jobs (
    id bigint generated always as identity primary key,
    session_id text not null references sessions (id),
    question text not null,
    answer text not null
);
-- By session and then in order, so that the next chunk of a history is found at once, however much was removed before.
create index jobs_session_id on jobs (session_id, id);

-- Whoever writes a job holds its session until the end of the transaction. So a fence waits for jobs that are being
-- written, and those that come after it find it there.
create function hold_session() returns trigger language plpgsql as $$
begin
    perform from sessions where id = new.session_id and deleting_at is null for share;
    if not found then
        raise exception 'session % takes no more jobs', new.session_id using errcode = 'check_violation';
    end if;
    return new;
end $$;
create trigger jobs_hold_session before insert on jobs for each row execute function hold_session();
