#!/bin/bash
# Makes the inputs of tests/fuzz/corpus that come from compilers: needs gcc, objcopy (binutils) and python3. What is there
# was made by Debian 12's. Files that fuzzing has added keep their names, which are hashes of what is in them.
set -euo pipefail
cd "$(dirname "$0")"

folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
cat >"$folder/small.c" <<'C'
__attribute__((noinline)) int leaf(int a) { return a * 3; }
static inline int twice(int a) { return leaf(a) + leaf(a + 1); }
int frame(int n) { volatile int room[n]; room[0] = twice(n); return room[0]; }
int aligned(int a) { volatile int room[16] __attribute__((aligned(64))); room[3] = twice(a); return room[3] + frame(a); }
C
cat >"$folder/small.cpp" <<'C'
namespace shop { template <typename T> struct Cart { __attribute__((noinline)) T sum(T a) { return a + 1; } }; }
int total(int a) { return shop::Cart<int>().sum(a); }
C
flags=(-shared -nostdlib -fPIC "-Wl,-z,noseparate-code" "-Wl,--hash-style=gnu" "-Wl,--build-id=sha1")
build() { # NAME SOURCE FLAGS...
    gcc -Os "${flags[@]}" -o "$folder/$1" "$folder/$2" "${@:3}"
}
build plain small.c
build frames small.c -fno-asynchronous-unwind-tables -gdwarf-4
build debug4 small.c -gdwarf-4 -fdebug-types-section
build debug5 small.c -gdwarf-5
build packed small.c -gdwarf-5 -gz
build named small.cpp -g0
build demangled small.cpp -gdwarf-5
objcopy --only-keep-debug "$folder/debug5" "$folder/separate"
objcopy --strip-all "$folder/plain" "$folder/stripped"
echo content >"$folder/link"
objcopy --add-gnu-debuglink="$folder/link" "$folder/stripped" "$folder/linked"

mkdir -p corpus/{elf,dwarf,eh_frame,debug_frame,pclntab}
for name in plain stripped linked separate; do install -m 644 "$folder/$name" "corpus/elf/$name"; done
for name in named debug4 debug5 packed separate demangled; do install -m 644 "$folder/$name" "corpus/dwarf/$name"; done

section() { # FILE SECTION
    objcopy --dump-section "$2=$folder/section" "$folder/$1" /dev/null
    cat "$folder/section"
}
# The first byte is the target's: see tests/src/fuzz/unwind.rs.
{ printf '\0'; section plain .eh_frame; } >corpus/eh_frame/section
hdr=$(section plain .eh_frame_hdr | wc -c)
{ printf "\\x$(printf %02x $((hdr << 1 | 1)))"; section plain .eh_frame_hdr; section plain .eh_frame; } >corpus/eh_frame/searched
{ printf '\0'; section frames .debug_frame; } >corpus/debug_frame/section
{ printf '\2'; section frames .debug_frame; } >corpus/debug_frame/go

python3 - <<'PYTHON'
import struct, zlib

# .eh_frame as the target lays it out: code at 0x10000, frames at 0x80000, the search table at 0x90000.
def record(body): return struct.pack('<I', len(body)) + body
def frames(eh, functions):
    cie = bytes([0, 0, 0, 0, 1]) + b'zR\0' + bytes([1, 0x78, 16, 1, 0, 0x0c, 7, 8, 0x90, 1]) if eh else \
        bytes([255, 255, 255, 255, 4, 0, 8, 0, 1, 0x78, 16, 0x0c, 7, 8, 0x90, 1])
    out, places = record(cie), []
    for start, length, code in functions:
        places.append(len(out))
        out += record(struct.pack('<IQQ', len(out) + 4 if eh else 0, start, length) + (b'\0' if eh else b'') + code)
    return out + bytes(4), places

functions = [
    (0x10000, 0x20, bytes([0x44, 0x0e, 16, 0x86, 2, 0x43, 0x0d, 6])),
    (0x10020, 0x20, bytes([0x0f, 3, 0x76, 0x78, 6, 0x10, 6, 2, 0x76, 0])),
    (0x10040, 0x20, bytes([0x0a, 0x41, 0x0e, 32, 0x41, 0x0b, 0x2e, 16])),
    (0x10080, 0x20, bytes([0x16, 16, 2, 0x77, 0, 0x07, 16])),
    (0x100a0, 0x10, bytes([0x0f, 11, 0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22])),
]
body, places = frames(True, functions)
header = bytes([1, 0x1b, 3, 0x3b]) + struct.pack('<iI', 0x80000 - 0x90004, len(functions))
for (start, _, _), place in zip(functions, places):
    header += struct.pack('<ii', start - 0x90000, 0x80000 + place - 0x90000)
open('corpus/eh_frame/made', 'wb').write(bytes([len(header) << 1 | 1]) + header + body)
open('corpus/eh_frame/made-section', 'wb').write(b'\0' + body)
debug, _ = frames(False, functions)
open('corpus/debug_frame/made', 'wb').write(b'\0' + debug)
open('corpus/debug_frame/made-go', 'wb').write(b'\2' + debug)
packed = struct.pack('<IIQQ', 1, 0, len(debug), 8) + zlib.compress(debug)
open('corpus/debug_frame/made-packed', 'wb').write(b'\1' + packed)

# Go's table: magic, words before the parts, bytes of a field, places in a record of name, changes and flags.
TEXT = 0x10000
ENDS = [
    (0x40, b'main.leaf', bytes([2, 0x10, 0]), 0),
    (0x60, b'main.frame', bytes([2, 4, 32, 12, 31, 4, 0]), 0),
    (0x80, b'runtime.goexit', bytes([2, 0x20, 0]), 4),
    (0xa0, b'runtime.sigreturn__sigaction', bytes([2, 9, 0]), 4),
    (0xc0, b'runtime.systemstack', bytes([2, 1, 32, 30, 31, 1, 0]), 6),
    (0xe0, b'from.c', b'', 0),
    (0x100, b'gogo', bytes([2, 0x20, 0]), 6),
]
for magic, words, field, name_at, stack_at, flags_at in [
    (0xfffffff1, 3, 4, 4, 16, 41), (0xfffffff0, 3, 4, 4, 16, 37), (0xfffffffa, 2, 8, 8, 20, 41)]:
    names, changes, records, listed = b'\0', b'\0', b'', b''
    number = lambda value: struct.pack('<Q', value)[:field]
    base = 0 if field == 4 else TEXT
    for start, name, steps, flags in ENDS:
        listed += number(base + start) + number((2 * len(ENDS) + 1) * field + len(records))
        record_ = bytearray(48)
        record_[name_at:name_at + 4] = struct.pack('<I', len(names))
        record_[stack_at:stack_at + 4] = struct.pack('<I', len(changes) if steps else 0)
        record_[flags_at] = flags
        records, names, changes = records + record_, names + name + b'\0', changes + steps
    listed += number(base + 0x120)
    head = [len(ENDS), 0] + ([TEXT] if words == 3 else [])
    first = 8 + 8 * (len(head) + 5)
    place = first + len(names)
    head += [first, 0, 0, place, place + len(changes)]
    table = struct.pack('<I', magic) + bytes([0, 0, 1, 8]) + struct.pack(f'<{len(head)}Q', *head)
    table += names + changes + listed + records
    open(f'corpus/pclntab/{magic:x}', 'wb').write(bytes([0, 0]) + table)
    if words == 3:
        head[2] = 0
        unplaced = table[:8] + struct.pack(f'<{len(head)}Q', *head) + table[8 + 8 * len(head):]
        module = bytearray(0x250)
        module[176:184] = struct.pack('<Q', TEXT)
        open(f'corpus/pclntab/{magic:x}-module', 'wb').write(bytes([0, 0x250 // 4]) + module + unplaced)
        relocation = struct.pack('<QQQ', 0x90000 + 176, 8, TEXT)
        open(f'corpus/pclntab/{magic:x}-relocated', 'wb').write(bytes([1, 6]) + relocation + unplaced)
PYTHON
find corpus -type f -size +16k -print -exec false {} +
