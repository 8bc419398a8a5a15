//! Which tests are run on every kernel: one or more of each kind of behaviour that a kernel has a part in.

/// A test of the tests' crate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    /// What it shows, as docs/kernels.md has it.
    pub(crate) shows: &'static str,
    /// The file in tests/tests.
    pub(crate) binary: &'static str,
    /// The test's name in it.
    pub(crate) name: &'static str,
    /// Whether it is among those that continuous integration runs under software emulation.
    pub(crate) short: bool,
}

const fn case(shows: &'static str, binary: &'static str, name: &'static str, short: bool) -> Case {
    Case { shows, binary, name, short }
}

/// All of them, in the order in which they are run.
pub(crate) const CASES: [Case; 25] = [
    case("doctor finds the host fit", "errors", "doctor_finds_this_host_fit", true),
    case("known stacks of threads, complete and in order", "unwind_c", "threads", true),
    case("shares of functions", "chain", "pie", true),
    case(
        "user stacks under the kernel's, and system time",
        "kernel",
        "kernel_samples_carry_the_whole_user_stack",
        true,
    ),
    case(
        "900 frames without bpf_loop, drained one by one",
        "unwind_depth",
        "nine_hundred_levels_on_kernels_before_5_17",
        true,
    ),
    case("privileges that are given up", "privilege", "root_has_no_more_left_than_others", true),
    case("exec", "unwind_life", "exec_without_fork", true),
    case("ticks that the kernel skips", "lateness", "a_tick_that_the_kernel_skips_is_missed", false),
    case("dlopen and dlclose", "unwind_life", "libraries_that_are_loaded_and_unloaded", false),
    case("threads that begin and end", "unwind_life", "five_hundred_threads_a_second", false),
    case("900 frames, drained in batches", "unwind_depth", "nine_hundred_levels", false),
    case("the budget of memory", "budget", "the_parts_of_the_memory_in_use_are_shown_and_add_up", false),
    case(
        "six capabilities without root",
        "privilege",
        "six_capabilities_are_enough_and_no_thread_keeps_them_all",
        false,
    ),
    case(
        "system calls that are refused",
        "confinement",
        "what_is_not_needed_is_refused_and_the_process_goes_on",
        false,
    ),
    case(
        "files where they belong",
        "confinement",
        "files_are_written_where_they_belong_and_nowhere_else",
        false,
    ),
    case(
        "a process that can do nothing but read",
        "confinement",
        "what_reads_in_a_process_of_its_own_can_do_nothing_else",
        false,
    ),
    case("a file that ends it", "reader", "a_file_that_ends_the_reader_costs_that_file_its_names", false),
    case("a lack of capabilities is told", "errors", "missing_capabilities", false),
    case("known stacks of six builds", "unwind_c", "every_build", false),
    case("known stacks without symbols", "unwind_c", "stripped", false),
    case("alternate signal stacks", "unwind_c", "a_handler_on_an_alternate_stack_in_a_system_call", false),
    case("fork", "unwind_life", "fork_without_exec", false),
    case("vfork and exec", "unwind_life", "vfork_and_exec", false),
    case("a command and its descendants", "command", "a_command_and_its_descendants_and_nothing_else", false),
    case("a full window ends early", "budget", "a_window_without_room_for_its_stacks_ends_early", false),
];
