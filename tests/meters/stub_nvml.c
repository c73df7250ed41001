/* A libnvidia-ml.so.1 without a GPU: answers nvidia-ml-py from the text file $NVML_STUB, read anew at every call.
 *
 * A file of lines, times in seconds of the stub's clock: $NVML_STUB_CLOCK holds it as 8 bytes of nanoseconds, else it is
 * CLOCK_MONOTONIC minus the line `origin`. The power at a time is that of the last `power` line at or before it; the
 * counter is its integral, refreshed every `update` seconds.
 *
 *   gpu GPU-aa | mig GPU-aa | origin S | update S | limit MW | power T WATTS | square PERIOD LOW HIGH | ramp WATTS_PER_S
 *   base J (used before the first `power` line)
 *   error FROM TO CODE (the GPU's calls fail) | init FROM TO CODE (so does looking it up) | nototal | nofields
 *   reset T (the counter starts from 0) | dip FROM TO MJ (so much less) | pid N | throttle BITS | count N (GPUs listed)
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MOST 20000
typedef struct { unsigned field, scope; long long timestamp, latency; int type, result;
                 union { double d; unsigned u; unsigned long long ull; } value; } Field;
typedef struct { unsigned pid; unsigned long long memory; unsigned gi, ci; } Process;
typedef struct { double from, to, a; } Span;

static char gpus[8][64];
static int count, mig[8], powers, errors, inits, dips, pids, nototal, nofields, users, throttle;
static unsigned pid[16];
static double origin, update, limit, square[3], ramp, reset, base, at[MOST], watts[MOST];
static Span error[8], init[8], dip[8];

static double now(void) {
    const char *clock = getenv("NVML_STUB_CLOCK");
    if (clock) {
        long long ns = 0;
        FILE *file = fopen(clock, "rb");
        if (file) { if (fread(&ns, 8, 1, file) != 1) ns = 0; fclose(file); }
        return ns / 1e9;
    }
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9 - origin;
}

static void load(void) {
    char line[128], word[64];
    double a, b, c;
    FILE *file = fopen(getenv("NVML_STUB"), "r");
    count = powers = errors = inits = dips = pids = nototal = nofields = throttle = 0;
    origin = update = limit = square[0] = ramp = base = 0; reset = -1;
    memset(mig, 0, sizeof mig);
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "gpu %63s", gpus[count]) == 1) count++;
        else if (sscanf(line, "mig %63s", word) == 1) { for (int i = 0; i < count; i++) mig[i] |= !strcmp(word, gpus[i]); }
        else if (sscanf(line, "origin %lf", &a) == 1) origin = a;
        else if (sscanf(line, "update %lf", &a) == 1) update = a;
        else if (sscanf(line, "limit %lf", &a) == 1) limit = a;
        else if (sscanf(line, "power %lf %lf", &a, &b) == 2 && powers < MOST) { at[powers] = a; watts[powers++] = b; }
        else if (sscanf(line, "base %lf", &a) == 1) base = a;
        else if (sscanf(line, "square %lf %lf %lf", square, square + 1, square + 2) == 3) continue;
        else if (sscanf(line, "ramp %lf", &a) == 1) ramp = a;
        else if (sscanf(line, "error %lf %lf %lf", &a, &b, &c) == 3) error[errors++] = (Span){a, b, c};
        else if (sscanf(line, "init %lf %lf %lf", &a, &b, &c) == 3) init[inits++] = (Span){a, b, c};
        else if (sscanf(line, "dip %lf %lf %lf", &a, &b, &c) == 3) dip[dips++] = (Span){a, b, c};
        else if (sscanf(line, "reset %lf", &a) == 1) reset = a;
        else if (sscanf(line, "pid %lf", &a) == 1) pid[pids++] = (unsigned)a;
        else if (sscanf(line, "throttle %i", &throttle) == 1) continue;
        else if (!strncmp(line, "nototal", 7)) nototal = 1;
        else if (!strncmp(line, "nofields", 8)) nofields = 1;
    }
    if (file) fclose(file);
}

static int failing(const Span *spans, int n) {
    double t = now();
    for (int i = 0; i < n; i++) if (t >= spans[i].from && t < spans[i].to) return (int)spans[i].a;
    return 0;
}

static double cycles(double t) { return floor(t / square[0] + 1e-9); } /* whole ones; 2.0 / 0.2 is ten */

static double power(double t) {
    double p = 0;
    for (int i = 0; i < powers && at[i] <= t; i++) p = watts[i];
    if (square[0] > 0) p += t - cycles(t) * square[0] < square[0] / 2 ? square[2] : square[1];
    return p + ramp * t;
}

static double joules(double t) { /* integral of power from 0 */
    double e = base + ramp * t * t / 2;
    for (int i = 0; i < powers && at[i] < t; i++) e += watts[i] * ((i + 1 < powers && at[i + 1] < t ? at[i + 1] : t) - at[i]);
    if (square[0] > 0) {
        double rest = fmax(0, t - cycles(t) * square[0]), half = square[0] / 2;
        e += cycles(t) * half * (square[1] + square[2]);
        e += rest < half ? rest * square[2] : half * square[2] + (rest - half) * square[1];
    }
    return e;
}

static unsigned long long counter(int gpu) {
    double t = now(), tick = update > 0 ? floor(t / update + 1e-6) * update : t;
    double mj = 1e3 * (joules(tick) - (reset >= 0 && t >= reset ? joules(reset) : 0)) * (gpu + 1);
    if (reset < 0 || t < reset) mj += 1e6 * (gpu + 1);
    for (int i = 0; i < dips; i++) if (t >= dip[i].from && t < dip[i].to) mj -= dip[i].a;
    return (unsigned long long)(mj < 0 ? 0 : mj + 0.5);
}

/* A handle is 1 + the place in UUID order, so that it stays true when the file lists the GPUs in another order. */
static int place(const char *uuid) {
    int p = 0, found = 0;
    for (int i = 0; i < count; i++) { p += strcmp(gpus[i], uuid) < 0; found |= !strcmp(gpus[i], uuid); }
    return found ? p : -1;
}
static const char *named(void *handle) {
    for (int i = 0; i < count; i++) if (place(gpus[i]) == (int)(long)handle - 1) return gpus[i];
    return NULL;
}
static int ready(void *handle) {
    load();
    int code = users ? failing(error, errors) : 1;
    return code ? code : named(handle) ? 0 : 15;
}

int nvmlInitWithFlags(unsigned flags) { (void)flags; load(); int code = failing(init, inits); if (!code) users++; return code; }
int nvmlShutdown(void) { if (!users) return 1; users--; return 0; }
const char *nvmlErrorString(int code) { (void)code; return "stub error"; }
int nvmlSystemGetDriverVersion(char *v, unsigned n) { snprintf(v, n, "stub"); return 0; }
int nvmlSystemGetProcessName(unsigned p, char *name, unsigned n) { snprintf(name, n, "/usr/bin/program%u", p); return 0; }
int nvmlDeviceGetCount_v2(unsigned *n) { load(); *n = count; return users ? 0 : 1; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **h) {
    load();
    if (i >= (unsigned)count) return 2;
    *h = (void *)(long)(1 + place(gpus[i]));
    return 0;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, void **h) {
    load();
    int code = users ? failing(init, inits) : 1;
    int p = place(strncmp(uuid, "MIG-", 4) ? uuid : uuid + 4); /* a slice is MIG- and its board's UUID */
    if (code || p < 0) return code ? code : 6;
    *h = (void *)(long)(1 + p);
    return 0;
}
int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(void *slice, void **h) { *h = slice; return 0; }
int nvmlDeviceGetUUID(void *h, char *uuid, unsigned n) { load(); snprintf(uuid, n, "%s", named(h)); return 0; }
int nvmlDeviceGetName(void *h, char *name, unsigned n) { (void)h; snprintf(name, n, "Stub GPU"); return 0; }
int nvmlDeviceGetEnforcedPowerLimit(void *h, unsigned *mw) { (void)h; load(); *mw = (unsigned)limit; return limit > 0 ? 0 : 3; }
int nvmlDeviceGetMigMode(void *h, unsigned *current, unsigned *pending) {
    load();
    for (int i = 0; i < count; i++) if (mig[i] && named(h) == gpus[i]) { *current = *pending = 1; return 0; }
    return 3;
}
int nvmlDeviceGetPowerManagementLimitConstraints(void *h, unsigned *low, unsigned *high) {
    (void)h; load(); *low = 0; *high = (unsigned)limit; return limit > 0 ? 0 : 3;
}
int nvmlDeviceGetTotalEnergyConsumption(void *h, unsigned long long *mj) {
    int code = ready(h);
    if (!code) *mj = counter((int)(long)h - 1);
    return code ? code : nototal ? 3 : 0;
}
int nvmlDeviceGetFieldValues(void *h, int n, Field *f) {
    int code = ready(h);
    double t = now(), from = t > 1 ? t - 1 : 0;
    for (int i = 0; i < n && !code; i++) {
        f[i].type = f[i].field == 83 ? 3 : 1;
        f[i].result = f[i].field == 83 || (!nofields && (f[i].field == 185 || f[i].field == 186) && !f[i].scope) ? 0 : 3;
        if (f[i].field == 83 && nofields) f[i].result = 3;
        if (f[i].field == 83) f[i].value.ull = counter((int)(long)h - 1);
        if (f[i].field == 185) f[i].value.u = (unsigned)(1e3 * (t > from ? (joules(t) - joules(from)) / (t - from) : power(t)));
        if (f[i].field == 186) f[i].value.u = (unsigned)(1e3 * power(t));
    }
    return code;
}
int nvmlDeviceGetComputeRunningProcesses_v3(void *h, unsigned *n, Process *p) {
    int code = ready(h);
    unsigned room = *n;
    *n = pids;
    if (code || !pids) return code;
    if (!p || room < (unsigned)pids) return 7;
    for (int i = 0; i < pids; i++) p[i] = (Process){pid[i], 1 << 20, 0, 0};
    return 0;
}
int nvmlDeviceGetGraphicsRunningProcesses_v3(void *h, unsigned *n, Process *p) { (void)h; (void)p; *n = 0; return 3; }
int nvmlDeviceGetCurrentClocksEventReasons(void *h, unsigned long long *bits) { int c = ready(h); *bits = throttle; return c; }
