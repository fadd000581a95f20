/* What one core can multiply at most, from registers alone: one line `precision MAC-per-second`
 * for each kind of arithmetic that this processor has. Built and run by deploy/peak.py.
 *
 * Time is the process's own processor time, so another job on the core does not count.
 */
#define _GNU_SOURCE
#include <immintrin.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ARCH_REQ_XCOMP_PERM 0x1023
#define XFEATURE_XTILEDATA 18
#define ROUNDS 20
#define LOOPS 200000

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

struct __attribute__((packed)) tiles {
    uint8_t palette, start_row, reserved[14];
    uint16_t colsb[16];
    uint8_t rows[16];
};

/* Eight tiles of 16 rows x 64 bytes: four to add into, four to multiply. */
#define FOUR(op) op(0, 4, 6); op(1, 4, 7); op(2, 5, 6); op(3, 5, 7)

#define TILE_PROBE(name, op)                                                    \
    __attribute__((target("amx-tile,amx-int8,amx-bf16"))) static void name(void) { \
        struct tiles t;                                                          \
        memset(&t, 0, sizeof t);                                                 \
        t.palette = 1;                                                           \
        for (int i = 0; i < 8; i++) { t.colsb[i] = 64; t.rows[i] = 16; }         \
        /* GCC 12 thinks that the next call reads eight bytes only. */           \
        __asm__ volatile("" : : "r"(&t) : "memory");                             \
        _tile_loadconfig(&t);                                                    \
        _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3);              \
        _tile_zero(4); _tile_zero(5); _tile_zero(6); _tile_zero(7);              \
        for (int i = 0; i < LOOPS; i++) { FOUR(op); }                            \
        _tile_release();                                                         \
    }
TILE_PROBE(amx_int8, _tile_dpbssd)
TILE_PROBE(amx_bf16, _tile_dpbf16ps)

static volatile float sink;

/* Twelve sums hide the latency of a multiply-add. */
__attribute__((target("avx512f"))) static void fma_fp32(void) {
    __m512 sum[12], x = _mm512_set1_ps(0.5f), y = _mm512_set1_ps(1.0f);
    for (int i = 0; i < 12; i++) sum[i] = _mm512_setzero_ps();
    for (int i = 0; i < LOOPS; i++) {
#pragma GCC unroll 12
        for (int j = 0; j < 12; j++) sum[j] = _mm512_fmadd_ps(sum[j], x, y);
    }
    for (int i = 1; i < 12; i++) sum[0] = _mm512_add_ps(sum[0], sum[i]);
    sink = _mm512_cvtss_f32(sum[0]);
}

static void probe(const char *precision, void (*run)(void), double macs) {
    double best_s = 1e9;
    for (int i = 0; i < ROUNDS; i++) {
        double from_s = now_s();
        run();
        double took_s = now_s() - from_s;
        if (took_s < best_s) best_s = took_s;
    }
    printf("%s %.6e\n", precision, macs / best_s);
}

int main(void) {
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f")) probe("fp32", fma_fp32, LOOPS * 12.0 * 16);
    unsigned a = 7, b = 0, c = 0, d = 0;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    int has_tiles = d >> 24 & 1, has_bf16 = d >> 22 & 1, has_int8 = d >> 25 & 1;
    if (!has_tiles || syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)) return 0;
    if (has_bf16) probe("bf16", amx_bf16, LOOPS * 4.0 * 16 * 16 * 32);
    if (has_int8) probe("int8", amx_int8, LOOPS * 4.0 * 16 * 16 * 64);
    return 0;
}
