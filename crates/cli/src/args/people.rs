//! Users, groups of users, what is shared with them, and what nobody is shown.

use clap::{Args as ClapArgs, Subcommand};

/// With whom something is shared, and how.
#[derive(Debug, ClapArgs)]
pub(crate) struct Share {
    /// What: its id; an endpoint of this home also by its name
    pub(crate) id: String,
    /// A user, by name or id; may be given again
    #[arg(long = "user", value_name = "NAME")]
    pub(crate) users: Vec<String>,
    /// A group of users, by name or id; may be given again
    #[arg(long = "group", value_name = "NAME")]
    pub(crate) groups: Vec<String>,
    /// Everybody who has a token
    #[arg(long)]
    pub(crate) public: bool,
    /// user, or admin, who may also share it further
    #[arg(long, value_name = "ROLE")]
    pub(crate) role: Option<String>,
    /// Of an endpoint: only this function may be called; may be given again
    #[arg(long = "function", value_name = "ID")]
    pub(crate) functions: Vec<String>,
    /// Of an endpoint: core-hours in each period, for all of them together
    #[arg(long, value_name = "N")]
    pub(crate) core_hours: Option<f64>,
    /// The period: day or week [default: week]
    #[arg(long, value_name = "PERIOD")]
    pub(crate) per: Option<String>,
    /// Of an endpoint: tasks that have not ended, for each user
    #[arg(long, value_name = "N")]
    pub(crate) at_once: Option<u32>,
}

/// With whom something is shared no longer.
#[derive(Debug, ClapArgs)]
pub(crate) struct Unshare {
    /// What: its id; an endpoint of this home also by its name
    pub(crate) id: String,
    /// A user, by name or id
    #[arg(long, value_name = "NAME", required_unless_present_any = ["group", "public"], conflicts_with_all = ["group", "public"])]
    pub(crate) user: Option<String>,
    /// A group of users, by name or id
    #[arg(long, value_name = "NAME", conflicts_with = "public")]
    pub(crate) group: Option<String>,
    /// Everybody: those who are named keep it
    #[arg(long)]
    pub(crate) public: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Group {
    /// Make a group of users
    New {
        /// A name that no other group has
        name: String,
        /// URL of an identity provider whose users are in it; administrators only
        #[arg(long, value_name = "URL", requires = "claim")]
        issuer: Option<String>,
        /// The group that the provider says they are in
        #[arg(long, value_name = "GROUP", requires = "issuer")]
        claim: Option<String>,
    },
    /// Add a user to a group
    Add {
        /// Name or id of the group
        group: String,
        /// Name or id of the user
        user: String,
    },
    /// Take a user out of a group
    Remove {
        /// Name or id of the group
        group: String,
        /// Name or id of the user
        user: String,
    },
    /// List the groups that you made or are in
    List,
    /// Show a group, and its members if it is yours
    Show {
        /// Its name or id
        group: String,
    },
    /// Delete a group, and what is shared with it
    Delete {
        /// Its name or id
        group: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Secret {
    /// Set a secret: its value is asked for, or read from standard input
    Set {
        /// The environment variable in which calls find it
        name: String,
        /// A function whose calls have it; may be given again
        #[arg(long = "function", value_name = "ID")]
        functions: Vec<String>,
    },
    /// List your secrets, without their values
    List,
    /// Let your calls of a function have a secret
    Grant {
        /// Its name
        name: String,
        /// The function
        #[arg(long, value_name = "ID")]
        function: String,
        /// An endpoint of somebody else that may have it too; may be given again
        #[arg(long = "endpoint", value_name = "ID")]
        endpoints: Vec<String>,
    },
    /// Let calls of a function have a secret no longer
    Revoke {
        /// Its name
        name: String,
        /// The function
        #[arg(long, value_name = "ID")]
        function: String,
    },
    /// Delete a secret
    Delete {
        /// Its name
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum User {
    /// Add a user; his first token is shown this once
    Add {
        /// A name that nobody else has
        name: String,
        /// May add users himself
        #[arg(long)]
        admin: bool,
        /// The account of a program, not of a person
        #[arg(long)]
        service: bool,
    },
    /// List all users
    List,
    /// Show a user, and who he is elsewhere
    Show {
        /// His name or id
        user: String,
    },
    /// End a user's access at once; his tasks go on
    Disable {
        /// His name or id
        user: String,
    },
    /// Give a user his access back
    Enable {
        /// His name or id
        user: String,
    },
    /// Say who a user is elsewhere: who logs in as that is this user
    Link {
        /// His name or id
        user: String,
        /// URL of the OpenID Connect provider
        #[arg(long, value_name = "URL")]
        issuer: String,
        /// His id there
        #[arg(long, value_name = "ID")]
        subject: String,
    },
    /// Say that a user is not who logs in as that: who does is a new user
    Unlink {
        /// His name or id
        user: String,
        /// URL of the OpenID Connect provider
        #[arg(long, value_name = "URL")]
        issuer: String,
        /// His id there
        #[arg(long, value_name = "ID")]
        subject: String,
    },
    /// Make a user an administrator, or with --no one like others
    Admin {
        /// His name or id
        user: String,
        /// He is one no longer; the last one stays
        #[arg(long)]
        no: bool,
    },
}
