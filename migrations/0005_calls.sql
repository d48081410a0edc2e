-- Calls: requests that came by HTTP, from the moment in which the caller is told their id.
--
-- A call becomes a message like everybody's, through the outbox. Until somebody has admitted it, only this row knows of it;
-- afterwards it says which request answers: its own, or the earlier one of which it is a copy.

create table sexton.calls (
    id           uuid primary key,                  -- uuid v7: the oldest are found by it
    tenant       text not null,
    digest       uuid not null unique,              -- of tenant and key: a call that comes again is this one
    content      uuid not null,                     -- of the canonical request
    batch        text,                              -- of a bulk: it is answered as a whole
    request_id   uuid,                              -- once admitted
    rejection_id uuid                               -- once turned away; a repeat that is admitted after all counts more
);
