//! The smallest program: it exits at once, or first executes itself a number of times.

use std::arch::global_asm;

// With one argument of eight decimal digits it counts down and executes itself, until all digits are 0. Where that
// fails it exits with status 1. With any other arguments it exits at once, since other tests run it with their own.
global_asm!(
    ".globl svcsensor_tiny_start",
    ".globl svcsensor_tiny_end",
    "svcsensor_tiny_start:",
    "cmp qword ptr [rsp], 2", // argc
    "jne 3f",
    "mov rsi, [rsp + 16]", // argv[1]
    "mov ecx, 8",
    "6:",
    "dec ecx",
    "js 7f",
    "mov al, byte ptr [rsi + rcx]",
    "sub al, 0x30",
    "cmp al, 9",
    "ja 3f", // no digit
    "jmp 6b",
    "7:",
    "cmp byte ptr [rsi + 8], 0",
    "jne 3f", // longer than eight
    "mov ecx, 8",
    "2:",
    "dec ecx",
    "js 3f", // borrowed from beyond the first digit: it was 0
    "cmp byte ptr [rsi + rcx], 0x30",
    "jne 4f",
    "mov byte ptr [rsi + rcx], 0x39",
    "jmp 2b",
    "4:",
    "dec byte ptr [rsi + rcx]",
    "mov rdi, [rsp + 8]", // execve(argv[0], argv, no environment)
    "lea rsi, [rsp + 8]",
    "xor edx, edx",
    "mov eax, 59",
    "syscall",
    "mov edi, 1",
    "jmp 5f",
    "3:",
    "xor edi, edi",
    "5:",
    "mov eax, 60", // exit
    "syscall",
    "svcsensor_tiny_end:",
);

unsafe extern "C" {
    static svcsensor_tiny_start: u8;
    static svcsensor_tiny_end: u8;
}

const HEADER: u64 = 64;
const PROGRAM_HEADER: u64 = 56;
const ADDRESS: u64 = 0x40_0000;

/// A static ELF executable for x86-64 (elf(5)): the header, one loadable segment, the code.
pub fn elf() -> Vec<u8> {
    let (first, end) = (&raw const svcsensor_tiny_start, &raw const svcsensor_tiny_end);
    // SAFETY: the bytes between two labels of this program's own code.
    let code = unsafe { std::slice::from_raw_parts(first, end as usize - first as usize) };
    let start = HEADER + PROGRAM_HEADER;
    let length = start + code.len() as u64;
    // Magic, 64 bits, little-endian, version 1.
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let mut put = |bytes: &[u8]| file.extend_from_slice(bytes);
    // ET_EXEC for x86-64; version; entry; program headers; no sections; no flags.
    put(&[2, 0, 62, 0, 1, 0, 0, 0]);
    for field in [ADDRESS + start, HEADER, 0] {
        put(&field.to_le_bytes());
    }
    put(&0_u32.to_le_bytes());
    for field in [HEADER as u16, PROGRAM_HEADER as u16, 1, 0, 0, 0] {
        put(&field.to_le_bytes());
    }
    // PT_LOAD, readable and executable: the whole file.
    put(&[1, 0, 0, 0, 5, 0, 0, 0]);
    for field in [0, ADDRESS, ADDRESS, length, length, 0x1000] {
        put(&field.to_le_bytes());
    }
    put(code);
    file
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    #[test]
    fn it_runs_once_or_several_times() {
        let path = std::env::temp_dir().join(format!("svcsensor-tiny-{}", std::process::id()));
        std::fs::write(&path, super::elf()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        let once = Command::new(&path).status().unwrap();
        let often = Command::new(&path).arg("00000101").status().unwrap();
        // Its own path is gone before it executes itself: so that it does is seen.
        let gone = Command::new("sh").args(["-c", "rm -f $0; exec $0 00000001"]).arg(&path).status().unwrap();
        assert!(once.success() && often.success());
        assert!(!gone.success());
    }
}
