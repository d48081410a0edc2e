//! One deletion in full, for eyes: why it is not done comes first, the journal last.

use super::print;
use crate::deletion::Action;
use crate::operator::Account;

/// The latest entries of a journal tell how it stands; `--json` has all of them.
const JOURNAL_SHOWN_MAX: usize = 60;

/// The whole account, most important first.
pub(super) fn tell(account: &Account) {
    let now = account.read_at;
    let why = &account.why;
    let what = match account.action {
        Action::Restore => "Restore",
        Action::Purge => "Purge",
        Action::Delete | Action::Cancel => "Deletion",
    };
    print::line(&format!(
        "{what} {} of {} {} (tenant {})",
        account.id, account.target_type, account.target, account.tenant
    ));
    print::line("");
    let fact = |name: &str, said: String| print::line(&format!("{name:<9} {said}"));
    match (account.ended_at, &account.result) {
        (Some(at), Some(result)) => fact("ended", format!("{result}, {}", print::placed(at, now))),
        _ => {
            fact("state", account.state.to_owned());
            fact("why", why.because.clone());
            fact("since", print::placed(why.since, now));
            let at = why
                .next_at
                .map_or(String::new(), |at| format!(", {}", print::placed(at, now)));
            fact("next", format!("{}{at}", why.next));
            if let Some(unblock) = &why.unblock {
                fact("unblock", unblock.clone());
            }
            why.also.iter().for_each(|also| fact("also", also.clone()));
            let can = if why.can_cancel {
                "possible"
            } else {
                "no longer possible"
            };
            fact("cancel", can.to_owned());
        }
    }
    fact("admitted", print::placed(account.admitted_at, now));
    if let Some(deadline) = account.deadline {
        fact("deadline", print::placed(deadline, now));
    }
    fact("plan", account.plan.short().to_owned());
    print::line("");

    let steps: Vec<Vec<String>> = account
        .steps
        .iter()
        .map(|step| {
            let attempts = step.attempts.to_string();
            vec![
                step.number.to_string(),
                step.name.clone(),
                step.system.clone(),
                attempts,
                step.state.to_owned(),
            ]
        })
        .collect();
    print::table(&["", "STEP", "SYSTEM", "ATTEMPTS", "STATE"], &steps);
    print::line("");
    print::line(&format!("Requests ({}):", account.requests_total));
    for request in &account.requests {
        let by = request
            .requested_by
            .as_ref()
            .map_or(String::new(), |by| format!(", by {by}"));
        let key = request
            .key
            .as_ref()
            .map_or(String::new(), |key| format!(", key {key}"));
        let reason = request
            .reason
            .as_ref()
            .map_or(String::new(), |reason| format!(": {reason}"));
        let at = print::moment(request.received_at);
        print::line(&format!(
            "  {at}  {} {}{key}{by}{reason}",
            request.action, request.id
        ));
    }
    if !account.signals.is_empty() {
        print::line("");
        print::line("Said to it:");
    }
    for signal in &account.signals {
        let reason = signal
            .reason
            .as_ref()
            .map_or(String::new(), |reason| format!(": {reason}"));
        print::line(&format!(
            "  {}  {} by {}{reason}",
            print::moment(signal.at),
            signal.kind,
            signal.by
        ));
    }
    let skipped = account.journal.len().saturating_sub(JOURNAL_SHOWN_MAX);
    print::line("");
    print::line("Journal:");
    if skipped > 0 {
        print::line(&format!("  … {skipped} earlier entries; --json has them"));
    }
    for told in account.journal.iter().skip(skipped) {
        print::line(&format!("  {}  {}", print::moment(told.at), told.said));
    }
}
