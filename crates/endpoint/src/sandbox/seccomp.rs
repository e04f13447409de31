//! The filter of system calls that each worker puts on itself: a list of what is refused, as BPF.
//!
//! What is on it reaches for other processes, for mounts and namespaces, or for parts of the kernel with a large
//! surface that no function needs. Everything else is left to namespaces, capabilities and mounts.

use nix::libc;

/// Refused with `EPERM`.
const REFUSED: &[libc::c_long] = &[
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // Mounts, namespaces, roots.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_open_by_handle_at,
    // The kernel's insides.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_fanotify_init,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_quotactl,
    libc::SYS_acct,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_reboot,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
];
/// Refused as if the kernel did not have them: programs then take the older call, which can be looked at.
const ABSENT: &[libc::c_long] =
    &[libc::SYS_clone3, libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register];
/// Flags of `clone` that make namespaces.
const NEW_NAMESPACES: u32 = 0x7e02_0080;
/// Families of sockets that reach other machines than the network namespace says, or the kernel's ciphers.
const FAMILIES: &[i32] = &[libc::AF_VSOCK, libc::AF_ALG, libc::AF_KEY, libc::AF_PACKET];
/// Pushes characters into a terminal.
const TIOCSTI: u32 = 0x5412;

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;
/// Numbers from here on are another way in on `x86_64`.
const X32: u32 = 0x4000_0000;

const LOAD: u16 = 0x20;
const EQUAL: u16 = 0x15;
const AT_LEAST: u16 = 0x35;
const ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;
const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;
const NUMBER: u32 = 0;
const ARCH: u32 = 4;

/// The program: `struct sock_filter` after `struct sock_filter`, in this machine's byte order.
pub(crate) fn filter() -> Vec<u8> {
    let mut program = Vec::new();
    let mut add = |code: u16, yes: u8, no: u8, value: u32| {
        program.extend_from_slice(&code.to_ne_bytes());
        program.extend_from_slice(&[yes, no]);
        program.extend_from_slice(&value.to_ne_bytes());
    };
    let (refuse, absent) = (ERRNO | libc::EPERM as u32, ERRNO | libc::ENOSYS as u32);
    add(LOAD, 0, 0, ARCH);
    add(EQUAL, 1, 0, ARCHITECTURE);
    add(RETURN, 0, 0, refuse);
    add(LOAD, 0, 0, NUMBER);
    add(AT_LEAST, 0, 1, X32);
    add(RETURN, 0, 0, refuse);
    for (calls, answer) in [(REFUSED, refuse), (ABSENT, absent)] {
        for call in calls {
            add(EQUAL, 0, 1, number(*call));
            add(RETURN, 0, 0, answer);
        }
    }
    // clone's flags are its first argument; those of no other call are looked at there.
    add(EQUAL, 0, 3, number(libc::SYS_clone));
    add(LOAD, 0, 0, argument(0));
    add(ANY_BIT, 0, 1, NEW_NAMESPACES);
    add(RETURN, 0, 0, refuse);
    for (call, place, values) in [
        (libc::SYS_socket, 0, FAMILIES.iter().map(|family| *family as u32).collect::<Vec<_>>()),
        (libc::SYS_ioctl, 1, vec![TIOCSTI]),
    ] {
        for value in values {
            add(LOAD, 0, 0, NUMBER);
            add(EQUAL, 0, 3, number(call));
            add(LOAD, 0, 0, argument(place));
            add(EQUAL, 0, 1, value);
            add(RETURN, 0, 0, refuse);
        }
    }
    add(RETURN, 0, 0, ALLOW);
    program
}

fn number(call: libc::c_long) -> u32 {
    u32::try_from(call).unwrap_or(u32::MAX)
}

/// Where the lower half of an argument is.
const fn argument(place: u32) -> u32 {
    let low = if cfg!(target_endian = "little") { 0 } else { 4 };
    16 + 8 * place + low
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERMITTED: u32 = ALLOW;
    const EPERM: u32 = ERRNO | 1;

    /// What the kernel answers: the program, run on one call.
    fn answer(architecture: u32, call: u32, arguments: [u32; 2]) -> u32 {
        let program = filter();
        let step = |at: usize| {
            let bytes = &program[at * 8..at * 8 + 8];
            let value = u32::from_ne_bytes(bytes[4..].try_into().unwrap());
            (u16::from_ne_bytes(bytes[..2].try_into().unwrap()), bytes[2], bytes[3], value)
        };
        let (mut at, mut held) = (0, 0);
        loop {
            let (code, yes, no, value) = step(at);
            let jump = |holds: bool| usize::from(if holds { yes } else { no });
            at += 1 + match code {
                LOAD => {
                    held = match value {
                        NUMBER => call,
                        ARCH => architecture,
                        place => arguments[(place as usize - 16) / 8],
                    };
                    0
                }
                EQUAL => jump(held == value),
                AT_LEAST => jump(held >= value),
                ANY_BIT => jump(held & value != 0),
                RETURN => return value,
                other => panic!("{other:#x}"),
            };
        }
    }

    fn of(call: libc::c_long, arguments: [u32; 2]) -> u32 {
        answer(ARCHITECTURE, number(call), arguments)
    }

    #[test]
    fn calls_that_reach_outside_are_refused_and_all_others_allowed() {
        for call in REFUSED {
            assert_eq!(of(*call, [0, 0]), EPERM, "{call}");
        }
        assert_eq!(of(libc::SYS_clone3, [0, 0]), ERRNO | libc::ENOSYS as u32);
        for call in
            [libc::SYS_read, libc::SYS_openat, libc::SYS_execve, libc::SYS_futex, libc::SYS_exit_group]
        {
            assert_eq!(of(call, [u32::MAX, u32::MAX]), PERMITTED, "{call}");
        }
        assert_eq!(of(libc::SYS_clone, [0x0012_0011, 0]), EPERM, "a namespace");
        assert_eq!(of(libc::SYS_clone, [0x003d_0f00, 0]), PERMITTED, "a thread");
        assert_eq!(of(libc::SYS_socket, [libc::AF_VSOCK as u32, 1]), EPERM);
        assert_eq!(of(libc::SYS_socket, [libc::AF_INET as u32, 1]), PERMITTED);
        assert_eq!(of(libc::SYS_ioctl, [0, TIOCSTI]), EPERM);
        assert_eq!(of(libc::SYS_ioctl, [0, 0x5413]), PERMITTED);
        assert_eq!(answer(0x4000_0003, 3, [0, 0]), EPERM, "calls of another architecture");
        assert_eq!(answer(ARCHITECTURE, X32 + 1, [0, 0]), EPERM);
    }
}
