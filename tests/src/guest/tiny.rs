//! The smallest program: it exits with status 0 at once.

/// `xor edi, edi; mov eax, 60 (exit); syscall`.
const CODE: [u8; 9] = [0x31, 0xff, 0xb8, 0x3c, 0, 0, 0, 0x0f, 0x05];

const HEADER: u64 = 64;
const PROGRAM_HEADER: u64 = 56;
const ADDRESS: u64 = 0x40_0000;

/// A static ELF executable for x86-64 (elf(5)): the header, one loadable segment, the code.
pub fn elf() -> Vec<u8> {
    let start = HEADER + PROGRAM_HEADER;
    let length = start + CODE.len() as u64;
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
    put(&CODE);
    file
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn it_runs() {
        let path = std::env::temp_dir().join(format!("svcsensor-tiny-{}", std::process::id()));
        std::fs::write(&path, super::elf()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        let status = std::process::Command::new(&path).status();
        std::fs::remove_file(&path).unwrap();
        assert!(status.unwrap().success());
    }
}
