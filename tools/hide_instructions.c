/* Makes a processor look older to the program that this library is preloaded into.
 *
 * Libraries choose their kernels by the CPUID instruction. Linux can make CPUID fault
 * (arch_prctl ARCH_CPUID, where the processor has "cpuid_fault"); the handler below executes it, clears
 * the bits of the hidden instruction sets, and goes on. So one machine tests what another kind would run.
 *
 * SUBPIXEL_HIDE=avx512 leaves AVX2 and FMA; SUBPIXEL_HIDE=avx leaves SSE4.2. `tools/hide` builds and uses it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define ARCH_CPUID 0x1012
#define BIT(n) (1u << (n))

enum { EAX, EBX, ECX, EDX };

typedef struct {
    unsigned leaf, subleaf;
    int output;
    unsigned bits;
} Hidden;

/* By Intel's Software Developer's Manual, volume 2A, CPUID. */
static const Hidden AVX512[] = {
    /* AVX-512 F, DQ, IFMA, PF, ER, CD, BW, VL */
    {7, 0, EBX, BIT(16) | BIT(17) | BIT(21) | BIT(26) | BIT(27) | BIT(28) | BIT(30) | BIT(31)},
    /* AVX-512 VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ */
    {7, 0, ECX, BIT(1) | BIT(6) | BIT(11) | BIT(12) | BIT(14)},
    /* AVX-512 4VNNIW, 4FMAPS, VP2INTERSECT, AMX-BF16, AVX-512 FP16, AMX-TILE, AMX-INT8 */
    {7, 0, EDX, BIT(2) | BIT(3) | BIT(8) | BIT(22) | BIT(23) | BIT(24) | BIT(25)},
    /* AVX-VNNI, AVX-512 BF16, AMX-FP16, AVX-IFMA */
    {7, 1, EAX, BIT(4) | BIT(5) | BIT(21) | BIT(23)},
    /* AVX-VNNI-INT8, AVX-NE-CONVERT, AMX-COMPLEX, AVX-VNNI-INT16, AVX10 */
    {7, 1, EDX, BIT(4) | BIT(5) | BIT(8) | BIT(10) | BIT(19)},
    /* the saved state of mask registers, of the upper halves and of AMX's tiles */
    {13, 0, EAX, BIT(5) | BIT(6) | BIT(7) | BIT(17) | BIT(18)},
};
static const Hidden AVX[] = {
    {1, 0, ECX, BIT(12) | BIT(28) | BIT(29)}, /* FMA, AVX, F16C */
    {7, 0, EBX, BIT(5)},                      /* AVX2 */
};

static int hide_avx;
static struct sigaction next_action;
static int (*real_sigaction)(int, const struct sigaction *, struct sigaction *);

static void clear(const Hidden *hidden, size_t count, unsigned leaf, unsigned subleaf, unsigned *outputs) {
    for (size_t i = 0; i < count; i++)
        if (hidden[i].leaf == leaf && (hidden[i].subleaf == subleaf || leaf == 1))
            outputs[hidden[i].output] &= ~hidden[i].bits;
}

static void emulate(greg_t *registers) {
    unsigned leaf = (unsigned)registers[REG_RAX], subleaf = (unsigned)registers[REG_RCX], outputs[4];
    syscall(SYS_arch_prctl, ARCH_CPUID, 1);
    __asm__ volatile("cpuid"
                     : "=a"(outputs[EAX]), "=b"(outputs[EBX]), "=c"(outputs[ECX]), "=d"(outputs[EDX])
                     : "a"(leaf), "c"(subleaf));
    syscall(SYS_arch_prctl, ARCH_CPUID, 0);
    clear(AVX512, sizeof AVX512 / sizeof *AVX512, leaf, subleaf, outputs);
    if (hide_avx) clear(AVX, sizeof AVX / sizeof *AVX, leaf, subleaf, outputs);
    registers[REG_RAX] = outputs[EAX];
    registers[REG_RBX] = outputs[EBX];
    registers[REG_RCX] = outputs[ECX];
    registers[REG_RDX] = outputs[EDX];
    registers[REG_RIP] += 2; /* the length of the instruction */
}

static void handle(int number, siginfo_t *info, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const unsigned char *instruction = (const unsigned char *)registers[REG_RIP];
    int faulted_at_cpuid = info->si_code == SI_KERNEL && instruction[0] == 0x0f && instruction[1] == 0xa2;
    if (faulted_at_cpuid) {
        emulate(registers);
    } else if (next_action.sa_flags & SA_SIGINFO) {
        next_action.sa_sigaction(number, info, context);
    } else if (next_action.sa_handler != SIG_DFL && next_action.sa_handler != SIG_IGN) {
        next_action.sa_handler(number);
    } else { /* returning repeats the fault, now without a handler */
        real_sigaction(SIGSEGV, &next_action, NULL);
    }
}

/* Python's faulthandler and others want SIGSEGV too: they get what is no CPUID. */
int sigaction(int number, const struct sigaction *action, struct sigaction *old) {
    if (!real_sigaction) real_sigaction = dlsym(RTLD_NEXT, "sigaction");
    if (number != SIGSEGV) return real_sigaction(number, action, old);
    if (old) *old = next_action;
    if (action) next_action = *action;
    return 0;
}

sighandler_t signal(int number, sighandler_t handler) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART}, old;
    return sigaction(number, &action, &old) ? SIG_ERR : old.sa_handler;
}

__attribute__((constructor)) static void start(void) {
    const char *level = getenv("SUBPIXEL_HIDE");
    if (!level || !*level) return;
    hide_avx = !strcmp(level, "avx");
    if (!hide_avx && strcmp(level, "avx512")) {
        fprintf(stderr, "SUBPIXEL_HIDE must be avx512 or avx; got %s.\n", level);
        _exit(2);
    }
    real_sigaction = dlsym(RTLD_NEXT, "sigaction");
    /* On the thread's own stack: an alternate one that OpenVINO leaves behind kills the process. */
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_NODEFER};
    real_sigaction(SIGSEGV, &action, &next_action);
    if (syscall(SYS_arch_prctl, ARCH_CPUID, 0)) {
        fprintf(stderr, "this processor or kernel cannot make CPUID fault, so nothing can be hidden.\n");
        _exit(2);
    }
}
