//! Plans against service profiles: a call that is not there, or that lacks a value, is found before the first deletion
//! gets to it, which may be after its point of no return.

use super::Systems;
use crate::deletion::Aim;
use crate::plan::{Call, Plan, Step};

impl Systems {
    /// Whether the profiles have every call of the plan, and the plan and the settings every value that the calls need.
    /// A system that is missing, or is no http system, is left to those who check that.
    pub fn check_calls(&self, plan: &Plan) -> Result<(), String> {
        let restorable = plan.restorable.is_some();
        for (_, course) in plan.courses() {
            for step in &course.steps {
                let reversed = match step.undo {
                    Some(Call::Http { .. }) => Some("the step has an undo"),
                    _ => restorable.then_some("the plan can be restored"),
                };
                self.check_call(&course, step, Aim::Do, Some(&step.call), reversed)?;
                self.check_call(&course, step, Aim::Undo, step.undo.as_ref(), reversed)?;
            }
        }
        Ok(())
    }

    fn check_call(
        &self,
        plan: &Plan,
        step: &Step,
        aim: Aim,
        call: Option<&Call>,
        reversed: Option<&str>,
    ) -> Result<(), String> {
        let (Some(Call::Http { call }), Some(http)) = (call, self.http(&step.on)) else {
            return Ok(());
        };
        let (profile, system) = (http.profile(), &step.on.0);
        let label = format!("step {:?}: the call {system}.{call}", step.name);
        if !profile.calls().any(|known| known == call) {
            let known: Vec<&str> = profile.calls().collect();
            return Err(format!(
                "{label} is not in the profile of the system; wanted one of: {}",
                known.join(", ")
            ));
        }
        for name in profile.names(call).into_iter().filter(|name| !http.gives(name)) {
            if let Some(why) = plan.lacks(step, aim, name) {
                let wanted = match aim {
                    Aim::Do => "a required param, a fact of the lookup, a column of the step's read",
                    Aim::Undo => "a required param, a fact of the lookup",
                };
                return Err(format!(
                    "{label} needs {{{name}}}, {why}; wanted {wanted}, or a value in [systems.{system}.values]"
                ));
            }
        }
        // An idempotency key does not do instead: a worker that froze before its first request has a key that the
        // service has never seen.
        if let Some(reversed) = reversed
            && !profile.sends(call, "generation")
        {
            return Err(format!(
                "{label} does not send {{generation}}, and {reversed}; wanted it in the profile's request, for \
                 a service that turns away a lower one than it has seen, else a frozen worker that wakes late repeats \
                 what was reversed"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::connectors::Systems;
    use crate::plan::{Plan, parse_plan};

    const PROFILE: &str = r#"
        [call.stop]
        method = "DELETE"
        path = "/{account}/{machine}"
        query = { at = "{now}", generation = "{generation}" }
        done = [204]
        pending = [202]
        keep = { operation = "/operation" }
        [call.stop.look]
        path = "/operations/{operation}"
        done = [200]

        [call.start]
        method = "PUT"
        path = "/{account}/{id}/{generation}"
        done = [204]

        [call.forget]
        method = "DELETE"
        path = "/{account}/{id}"
        done = [204]
    "#;

    fn systems() -> Systems {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("cloud.toml"), PROFILE).expect("a profile");
        let settings = "[cloud]\nkind = 'http'\nurl = 'http://127.0.0.1:1'\nprofile = 'cloud.toml'\n\
                        values = { account = 'a' }";
        let settings = toml::from_str(settings).expect("settings");
        Systems::build(&settings, folder.path()).expect("systems")
    }

    fn plan(params: &str, columns: &str, step: &str) -> Plan {
        let text = format!(
            "target = \"a.b\"\non = \"db\"\nparams = {{ {params} }}\n\
             [lookup]\nsql = \"select {columns} from t where id = :id\"\nnone = \"absent\"\n\
             [[step]]\nname = \"x\"\n{step}"
        );
        parse_plan(&text, "p.toml").expect(&text)
    }

    #[test]
    fn a_plan_that_gives_what_its_calls_need_passes() {
        let systems = systems();
        let read = "read = { on = \"db\", sql = \"select machine from t where id = :id\" }";
        for (params, columns, step) in [
            ("machine = \"text\"", "kind", ""),
            ("", "machine", ""),
            ("", "*", ""),
            ("", "kind", read),
            (
                "machine = \"text?\"",
                "kind",
                "when = { machine = { present = true } }",
            ),
            ("", "machine", "undo = { call = \"cloud.start\" }"),
            ("", "machine", "undo = { nothing = true }"),
        ] {
            let plan = plan(params, columns, &format!("call = \"cloud.stop\"\n{step}"));
            assert_eq!(systems.check_calls(&plan), Ok(()), "{params} {columns} {step}");
        }
    }

    #[test]
    fn a_call_that_is_not_there_or_lacks_a_value_is_named() {
        let systems = systems();
        let read = "read = { on = \"db\", sql = \"select machine from t where id = :id\" }";
        for (params, step, wanted) in [
            (
                "",
                "call = \"cloud.halt\"".to_owned(),
                "step \"x\": the call cloud.halt is not in the profile of the system; wanted one of: forget, start, stop",
            ),
            (
                "",
                "call = \"cloud.stop\"".to_owned(),
                "step \"x\": the call cloud.stop needs {machine}, which nothing gives; wanted a required param, a fact of \
                 the lookup, a column of the step's read, or a value in [systems.cloud.values]",
            ),
            (
                "machine = \"text?\"",
                "call = \"cloud.stop\"".to_owned(),
                "step \"x\": the call cloud.stop needs {machine}, a param that a request may leave out; wanted",
            ),
            (
                "",
                format!("call = \"cloud.start\"\nundo = {{ call = \"cloud.stop\" }}\n{read}"),
                "step \"x\": the call cloud.stop needs {machine}, which nothing gives; wanted a required param, a fact of \
                 the lookup, or a value",
            ),
            (
                "",
                "call = \"cloud.forget\"\nundo = { call = \"cloud.start\" }".to_owned(),
                "step \"x\": the call cloud.forget does not send {generation}, and the step has an undo; wanted",
            ),
            (
                "",
                "call = \"cloud.start\"\nundo = { call = \"cloud.forget\" }".to_owned(),
                "step \"x\": the call cloud.forget does not send {generation}, and the step has an undo; wanted",
            ),
        ] {
            let said = systems
                .check_calls(&plan(params, "kind", &step))
                .expect_err(wanted);
            assert!(said.starts_with(wanted), "{said}");
        }
    }

    #[test]
    fn what_the_profile_lacks_is_a_reason_not_to_run_a_plan() {
        let text = "target = \"a.b\"\n[[step]]\nname = \"x\"\ncall = \"cloud.halt\"";
        let plan = parse_plan(text, "p.toml").expect("a plan");
        let said = systems().can_run(&plan).expect_err("it has no such call");
        assert!(said.contains("cloud.halt"), "{said}");
    }
}
