-- What does not let Sexton in, and why: for a person to see, and to say that it is repaired. Each worker tells of its
-- own doors; none obeys another's, since settings differ while a change of them is rolled out.

create table sexton.shut_systems (
    worker      uuid not null,
    system      text not null,
    place       text not null,                       -- everything there, or what one step wants
    why         text not null,
    unblock     text not null,                       -- what would open it
    since       timestamptz not null,
    tries       integer not null,                    -- in vain, since then
    next_try_at timestamptz not null,
    retry_at    timestamptz,                         -- somebody said that it is repaired
    primary key (worker, system, place)
);
