//! What a plan gives to a call of a service profile, whose templates the plan itself does not see.

use super::check_names::Scope;
use super::columns::Columns;
use super::{Is, Param, Plan, Step};
use crate::deletion::Aim;

impl Plan {
    /// Why the step's call, or its undo, may find no value under this name; none if it does, or if the text of a query
    /// does not tell.
    pub fn lacks(&self, step: &Step, aim: Aim, name: &str) -> Option<&'static str> {
        let facts = self
            .lookup
            .as_ref()
            .map_or_else(Columns::none, |lookup| Columns::of(&lookup.sql));
        let mut scope = Scope::new(self, &facts);
        // What was read for the step is not read again for its undo.
        if let (Some(read), Aim::Do) = (&step.read, aim) {
            scope.read = Columns::of(&read.sql);
        }
        if !scope.knows(name) {
            return Some("which nothing gives");
        }
        let optional = self.params.get(name).is_some_and(Param::may_be_null);
        let asked_for = step
            .when
            .iter()
            .flat_map(|when| &when.all)
            .any(|test| test.name == name && test.is == Is::Present(true));
        (optional && !asked_for).then_some("a param that a request may leave out")
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse_plan;
    use super::*;

    fn plan(lookup: &str) -> Plan {
        let text = format!(
            r#"
            target = "a.b"
            on = "db"
            params = {{ owner = "text", note = "text?", also = "text?" }}
            [lookup]
            sql = "select {lookup} from t where id = :id"
            none = "absent"
            [[step]]
            name = "x"
            call = "cloud.x"
            undo = {{ call = "cloud.y" }}
            when = {{ also = {{ present = true }} }}
            read = {{ on = "db", sql = "select machine from t where id = :id" }}
            "#
        );
        parse_plan(&text, "p.toml").expect("a plan")
    }

    #[test]
    fn a_name_is_given_by_params_facts_reads_and_what_is_built_in() {
        let narrow = plan("kind");
        let lacks = |aim: Aim, name: &str| narrow.lacks(&narrow.steps[0], aim, name);
        for name in [
            "id",
            "tenant",
            "type",
            "deletion_id",
            "generation",
            "owner",
            "kind",
            "also",
        ] {
            assert_eq!(lacks(Aim::Do, name), None, "{name}");
            assert_eq!(lacks(Aim::Undo, name), None, "{name}");
        }
        assert_eq!(lacks(Aim::Do, "machine"), None);
        assert_eq!(lacks(Aim::Undo, "machine"), Some("which nothing gives"));
        assert_eq!(lacks(Aim::Do, "chunk"), Some("which nothing gives"));
        assert_eq!(
            lacks(Aim::Do, "note"),
            Some("a param that a request may leave out")
        );
    }

    #[test]
    fn a_lookup_that_does_not_name_its_columns_may_give_anything() {
        let wide = plan("*");
        assert_eq!(wide.lacks(&wide.steps[0], Aim::Undo, "machine"), None);
    }
}
