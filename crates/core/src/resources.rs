//! What a call asks for and what an executor has, and how much of an executor a call takes.

use crate::limits;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a call asks for, or what an executor has. Zero is "not asked", or "has none".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Cores, of one node.
    pub cores: u32,
    /// Memory of one node, in MB of 2²⁰ bytes.
    pub memory_mb: u64,
    /// Accelerators, of one node.
    pub gpus: u32,
    /// Whole nodes: those of its block that an executor commands.
    pub nodes: u32,
    /// Processes that an MPI call starts on each of its nodes.
    pub ranks_per_node: u32,
}

impl Resources {
    /// Nothing in particular.
    pub const NONE: Self = Self { cores: 0, memory_mb: 0, gpus: 0, nodes: 0, ranks_per_node: 0 };
    /// As much as anybody may ask for: of a node that nobody has seen yet.
    pub const UNKNOWN: Self = Self {
        cores: u32::MAX,
        memory_mb: u64::MAX,
        gpus: u32::MAX,
        nodes: u32::MAX,
        ranks_per_node: u32::MAX,
    };

    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }

    /// The greater of both, amount by amount.
    #[must_use]
    pub fn greater(self, other: Self) -> Self {
        Self {
            cores: self.cores.max(other.cores),
            memory_mb: self.memory_mb.max(other.memory_mb),
            gpus: self.gpus.max(other.gpus),
            nodes: self.nodes.max(other.nodes),
            ranks_per_node: self.ranks_per_node.max(other.ranks_per_node),
        }
    }

    /// The same, if a call may ask for it.
    ///
    /// # Errors
    /// The name of what is wrong, and why.
    pub fn checked(self) -> Result<Self, (&'static str, String)> {
        let most = limits::RESOURCE_COUNT;
        for (name, count) in [
            ("cores", self.cores),
            ("gpus", self.gpus),
            ("nodes", self.nodes),
            ("ranks_per_node", self.ranks_per_node),
        ] {
            if count > most {
                return Err((name, format!("{count} is more than {most}")));
            }
        }
        if self.memory_mb > limits::RESOURCE_MEMORY_MB {
            return Err(("memory", format!("{} MB is more than any machine has", self.memory_mb)));
        }
        if self.ranks_per_node > 0 && self.nodes == 0 {
            return Err((
                "ranks_per_node",
                "it is for calls that ask for nodes, and this asks for none".into(),
            ));
        }
        Ok(self)
    }
}

impl fmt::Display for Resources {
    /// Such as `2 cores, 4096 MB of memory`; what is zero or unknown is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |count: u32, name: &str| {
            let known = count > 0 && count < u32::MAX;
            known.then(|| format!("{count} {name}{}", if count == 1 { "" } else { "s" }))
        };
        let memory = (self.memory_mb > 0 && self.memory_mb < u64::MAX)
            .then(|| format!("{} MB of memory", self.memory_mb));
        let ranks = count(self.ranks_per_node, "rank").map(|ranks| format!("{ranks} on each"));
        let all =
            [count(self.nodes, "node"), ranks, count(self.cores, "core"), memory, count(self.gpus, "GPU")];
        let all: Vec<String> = all.into_iter().flatten().collect();
        f.write_str(&if all.is_empty() { "nothing in particular".to_owned() } else { all.join(", ") })
    }
}

/// What people read of a call that can never run where the most there is is `most`, which `whose` has.
#[must_use]
pub fn unsatisfiable(asks: &Resources, most: &Resources, whose: &str) -> String {
    format!(
        "the task asks for {asks}, and {whose} has at most {most}; ask for less, or submit it to an endpoint with larger \
         nodes"
    )
}

/// Megabytes of a text such as `512MB` or `4GB`, in units of 1,024: schedulers count so.
#[must_use]
pub fn memory_mb(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim_start().to_ascii_uppercase().as_str() {
        "M" | "MB" | "MIB" => 1,
        "G" | "GB" | "GIB" => 1 << 10,
        "T" | "TB" | "TIB" => 1 << 20,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor).filter(|mb| *mb > 0)
}

/// How much of one executor a call takes, or what of it is free.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share {
    /// Slots: workers that take one each.
    pub slots: u32,
    /// Memory in MB.
    pub memory_mb: u64,
    /// Accelerators.
    pub gpus: u32,
    /// Whole nodes.
    pub nodes: u32,
}

impl Share {
    /// What a call that asks for nothing takes.
    pub const SLOT: Self = Self { slots: 1, memory_mb: 0, gpus: 0, nodes: 0 };

    /// All of an executor that has `has` and runs calls in `slots` slots.
    #[must_use]
    pub const fn all(has: &Resources, slots: u32) -> Self {
        Self { slots, memory_mb: has.memory_mb, gpus: has.gpus, nodes: has.nodes }
    }

    /// What a call that asks for `asked` takes of such an executor; `None`: more than all of it.
    ///
    /// Cores are taken as slots, each of which stands for as many cores as all others: so the cores that are taken are
    /// never more than there are. Slots are of the node where the executor is: only who takes every node takes them, too.
    #[must_use]
    pub fn of(asked: &Resources, has: &Resources, slots: u32) -> Option<Self> {
        if asked.is_none() {
            return (slots > 0).then_some(Self::SLOT);
        }
        let fits = asked.cores <= has.cores && asked.memory_mb <= has.memory_mb && asked.gpus <= has.gpus;
        if !fits || asked.nodes > has.nodes || slots == 0 {
            return None;
        }
        let part = |asked: u32, of: u32| {
            let taken = (u64::from(asked) * u64::from(slots)).div_ceil(u64::from(of.max(1)));
            u32::try_from(taken).unwrap_or(u32::MAX).max(1)
        };
        Some(match asked.nodes {
            0 => Self {
                slots: part(asked.cores, has.cores),
                memory_mb: asked.memory_mb,
                gpus: asked.gpus,
                nodes: 0,
            },
            nodes => Self { slots: if nodes == has.nodes { slots } else { 0 }, memory_mb: 0, gpus: 0, nodes },
        })
    }

    /// Whether `part` fits into it.
    #[must_use]
    pub const fn holds(&self, part: &Self) -> bool {
        part.slots <= self.slots
            && part.memory_mb <= self.memory_mb
            && part.gpus <= self.gpus
            && part.nodes <= self.nodes
    }

    /// Whether it has something of what `short` is short of.
    #[must_use]
    pub const fn helps(&self, short: &Self) -> bool {
        (self.slots > 0 && short.slots > 0)
            || (self.memory_mb > 0 && short.memory_mb > 0)
            || (self.gpus > 0 && short.gpus > 0)
            || (self.nodes > 0 && short.nodes > 0)
    }

    /// How many of `part` fit into it.
    #[must_use]
    pub fn times(&self, part: &Self) -> usize {
        let times = |all: u64, one: u64| all.checked_div(one).unwrap_or(u64::MAX);
        let least = times(self.slots.into(), part.slots.into())
            .min(times(self.memory_mb, part.memory_mb))
            .min(times(self.gpus.into(), part.gpus.into()))
            .min(times(self.nodes.into(), part.nodes.into()));
        usize::try_from(least).unwrap_or(usize::MAX)
    }

    /// How many slots of `all` it keeps others from: by the amount of which it takes the largest part.
    #[must_use]
    pub fn as_slots(&self, all: &Self) -> u32 {
        let part = |one: u64, of: u64| {
            let slots = u128::from(one) * u128::from(all.slots);
            u32::try_from(slots.div_ceil(u128::from(of.max(1)))).unwrap_or(u32::MAX)
        };
        self.slots
            .max(part(self.memory_mb, all.memory_mb))
            .max(part(self.gpus.into(), all.gpus.into()))
            .max(part(self.nodes.into(), all.nodes.into()))
            .min(all.slots.max(1))
    }

    /// So many of it.
    #[must_use]
    pub fn scaled(self, times: usize) -> Self {
        let by = u32::try_from(times).unwrap_or(u32::MAX);
        Self {
            slots: self.slots.saturating_mul(by),
            memory_mb: self.memory_mb.saturating_mul(u64::from(by)),
            gpus: self.gpus.saturating_mul(by),
            nodes: self.nodes.saturating_mul(by),
        }
    }

    /// Both together.
    #[must_use]
    pub const fn and(self, other: &Self) -> Self {
        Self {
            slots: self.slots.saturating_add(other.slots),
            memory_mb: self.memory_mb.saturating_add(other.memory_mb),
            gpus: self.gpus.saturating_add(other.gpus),
            nodes: self.nodes.saturating_add(other.nodes),
        }
    }

    /// What is left without `other`.
    #[must_use]
    pub const fn less(self, other: &Self) -> Self {
        Self {
            slots: self.slots.saturating_sub(other.slots),
            memory_mb: self.memory_mb.saturating_sub(other.memory_mb),
            gpus: self.gpus.saturating_sub(other.gpus),
            nodes: self.nodes.saturating_sub(other.nodes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_the_units_of_schedulers() {
        for (text, mb) in [
            ("512MB", Some(512)),
            ("4GB", Some(4_096)),
            ("4 g", Some(4_096)),
            ("1TiB", Some(1 << 20)),
            ("16M", Some(16)),
            ("4", None),
            ("0GB", None),
            ("GB", None),
            ("-1GB", None),
            ("1.5GB", None),
            ("4KB", None),
            ("99999999999999999999GB", None),
            ("99999999999999999TB", None),
            ("", None),
        ] {
            assert_eq!(memory_mb(text), mb, "{text}");
        }
    }

    #[test]
    fn what_a_call_takes_is_never_less_than_it_asks_for() {
        let has = Resources { cores: 4, memory_mb: 8_000, gpus: 2, nodes: 1, ranks_per_node: 0 };
        let ask =
            |cores, memory_mb, gpus, nodes| Resources { cores, memory_mb, gpus, nodes, ranks_per_node: 0 };
        let share = |slots, memory_mb, gpus, nodes| Some(Share { slots, memory_mb, gpus, nodes });
        for (asked, slots, taken) in [
            (Resources::NONE, 4, Some(Share::SLOT)),
            (Resources::NONE, 0, None),
            (ask(1, 0, 0, 0), 4, share(1, 0, 0, 0)),
            (ask(3, 0, 0, 0), 4, share(3, 0, 0, 0)),
            (ask(3, 0, 0, 0), 2, share(2, 0, 0, 0)),
            (ask(1, 0, 0, 0), 8, share(2, 0, 0, 0)),
            (ask(3, 0, 0, 0), 1, share(1, 0, 0, 0)),
            (ask(5, 0, 0, 0), 4, None),
            (ask(0, 8_000, 0, 0), 4, share(1, 8_000, 0, 0)),
            (ask(0, 8_001, 0, 0), 4, None),
            (ask(0, 0, 2, 0), 4, share(1, 0, 2, 0)),
            (ask(0, 0, 3, 0), 4, None),
            (ask(2, 100, 1, 1), 4, share(4, 0, 0, 1)),
            (ask(0, 0, 0, 2), 4, None),
        ] {
            assert_eq!(Share::of(&asked, &has, slots), taken, "{asked} in {slots} slots");
        }
        let block = Resources { nodes: 4, ..has };
        assert_eq!(Share::of(&ask(0, 0, 0, 3), &block, 4), share(0, 0, 0, 3));
        assert_eq!(Share::of(&ask(0, 0, 0, 4), &block, 2), share(2, 0, 0, 4));
    }

    #[test]
    fn wrong_wishes_are_named() {
        let ranks = Resources { ranks_per_node: 2, ..Resources::NONE };
        assert_eq!(ranks.checked().unwrap_err().0, "ranks_per_node");
        let cores = Resources { cores: limits::RESOURCE_COUNT + 1, ..Resources::NONE };
        assert_eq!(cores.checked().unwrap_err().0, "cores");
        let memory = Resources { memory_mb: u64::MAX, ..Resources::NONE };
        assert_eq!(memory.checked().unwrap_err().0, "memory");
        let fine = Resources { nodes: 2, ranks_per_node: 4, ..Resources::NONE };
        assert_eq!(fine.checked(), Ok(fine));
        assert_eq!(fine.to_string(), "2 nodes, 4 ranks on each");
    }
}
