//! Who may do what: a principal, its roles, and the doors of HTTP that are open to it.
//!
//! Whether a target exists is none of this: what is not the tenant's is looked for like everything else, and not found.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::deletion::Tenant;

/// A closed list; it stands in keys and in the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Sees, lists and follows what its tenant's requests have become.
    Viewer,
    /// Deletes, restores and cancels as well.
    Requester,
}

/// The HTTP shapes that the gateway serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dialect {
    Native,
    Factory,
    Powerdrill,
    Pave,
    Agno,
}

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    See,
    Ask,
}

/// Somebody whose credentials are good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// As the audit names them, and every request of theirs.
    pub name: String,
    pub tenant: Tenant,
    pub roles: BTreeSet<Role>,
    pub dialects: BTreeSet<Dialect>,
    /// On whose behalf, if their credentials say so.
    pub subject: Option<String>,
    /// By which key they came, if by one.
    pub key: Option<Uuid>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MayNot {
    /// This door is closed to them.
    Dialect,
    /// None of their roles has this act.
    Role,
}

impl Principal {
    pub fn may(&self, act: Act, dialect: Dialect) -> Result<(), MayNot> {
        if !self.dialects.contains(&dialect) {
            return Err(MayNot::Dialect);
        }
        match act {
            Act::See if !self.roles.is_empty() => Ok(()),
            Act::Ask if self.roles.contains(&Role::Requester) => Ok(()),
            Act::See | Act::Ask => Err(MayNot::Role),
        }
    }
}

impl Role {
    pub const ALL: [Role; 2] = [Role::Viewer, Role::Requester];

    pub fn word(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Requester => "requester",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Role::ALL.into_iter().find(|role| role.word() == word)
    }
}

impl Dialect {
    pub const ALL: [Dialect; 5] = [
        Dialect::Native,
        Dialect::Factory,
        Dialect::Powerdrill,
        Dialect::Pave,
        Dialect::Agno,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Dialect::Native => "native",
            Dialect::Factory => "factory",
            Dialect::Powerdrill => "powerdrill",
            Dialect::Pave => "pave",
            Dialect::Agno => "agno",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Dialect::ALL.into_iter().find(|dialect| dialect.word() == word)
    }
}

/// For which tenants each user of the broker may speak. Without any, whoever may publish speaks for all.
#[derive(Clone, Debug, Default)]
pub struct Speakers {
    /// By user: tenants, or `*` for all.
    users: BTreeMap<String, Vec<String>>,
    /// Sexton's own user, whose messages were checked where they came in.
    own: String,
}

/// Every tenant.
pub const ALL_TENANTS: &str = "*";

impl Speakers {
    pub fn new(users: BTreeMap<String, Vec<String>>, own: String) -> Self {
        Speakers { users, own }
    }

    /// `user` as the broker vouches for it. The error is what was found and what is wanted.
    pub fn may_speak(&self, user: Option<&str>, tenant: &Tenant) -> Result<(), &'static str> {
        if self.users.is_empty() || user == Some(self.own.as_str()) {
            return Ok(());
        }
        let Some(user) = user else {
            return Err(
                "found a message without a user_id; wanted one, by which the broker vouches for who speaks",
            );
        };
        let may = |all: &Vec<String>| {
            let is = |one: &String| one == ALL_TENANTS || one == tenant.as_str();
            all.iter().any(is)
        };
        match self.users.get(user).is_some_and(may) {
            true => Ok(()),
            false => Err("found a user of the broker who may not speak for this tenant; wanted one who may"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invariant_07_a_user_of_the_broker_speaks_for_its_tenants_only() {
        let users = [("a", &["t"][..]), ("ops", &["*"]), ("nobody", &[])];
        let users =
            users.map(|(user, all)| (user.to_owned(), all.iter().map(|one| (*one).to_owned()).collect()));
        let speakers = Speakers::new(BTreeMap::from(users), "sexton".into());
        let tenant = |name: &str| Tenant::parse(name).expect("a tenant");
        for (user, name, may) in [
            (Some("a"), "t", true),
            (Some("a"), "u", false),
            (Some("ops"), "u", true),
            (Some("sexton"), "u", true),
            (Some("nobody"), "t", false),
            (Some("stranger"), "t", false),
            (Some(""), "t", false),
            (None, "t", false),
        ] {
            assert_eq!(
                speakers.may_speak(user, &tenant(name)).is_ok(),
                may,
                "{user:?} for {name}"
            );
        }
        assert_eq!(
            Speakers::default().may_speak(None, &tenant("t")),
            Ok(()),
            "the setting does not ask for it"
        );
    }

    #[test]
    fn each_act_needs_its_role_and_an_open_door() {
        let with = |roles: &[Role]| Principal {
            name: "ci".into(),
            tenant: Tenant::parse("t").expect("a tenant"),
            roles: roles.iter().copied().collect(),
            dialects: BTreeSet::from([Dialect::Native, Dialect::Pave]),
            subject: None,
            key: None,
        };
        for (roles, see, ask) in [
            (&[][..], Err(MayNot::Role), Err(MayNot::Role)),
            (&[Role::Viewer], Ok(()), Err(MayNot::Role)),
            (&[Role::Requester], Ok(()), Ok(())),
            (&Role::ALL, Ok(()), Ok(())),
        ] {
            let somebody = with(roles);
            for open in [Dialect::Native, Dialect::Pave] {
                assert_eq!(somebody.may(Act::See, open), see, "{roles:?}");
                assert_eq!(somebody.may(Act::Ask, open), ask, "{roles:?}");
            }
            assert_eq!(somebody.may(Act::See, Dialect::Agno), Err(MayNot::Dialect));
        }
        for dialect in Dialect::ALL {
            assert_eq!(Dialect::parse(dialect.word()), Some(dialect));
        }
        for role in Role::ALL {
            assert_eq!(Role::parse(role.word()), Some(role));
        }
    }
}
