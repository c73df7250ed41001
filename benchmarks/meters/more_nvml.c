/* What zeus and codecarbon ask of a GPU besides its energy, beside the stub of the tests; weak, so that whatever the
 * stub answers itself stands. */
#define WEAK __attribute__((weak))

int nvmlDeviceGetTotalEnergyConsumption(void *h, unsigned long long *mj); /* the stub's: is the GPU there? */
static int ready(void *h) { unsigned long long mj; return nvmlDeviceGetTotalEnergyConsumption(h, &mj); }

WEAK int nvmlDeviceGetPowerUsage(void *h, unsigned *mw) { *mw = 200000; return ready(h); } /* as in subject.py */
WEAK int nvmlDeviceGetArchitecture(void *h, unsigned *generation) { *generation = 9; return ready(h); } /* Hopper */
WEAK int nvmlDeviceGetEnforcedPowerLimit(void *h, unsigned *mw) { *mw = 700000; return ready(h); }
WEAK int nvmlDeviceGetTemperature(void *h, int sensor, unsigned *celsius) { (void)sensor; *celsius = 50; return ready(h); }
WEAK int nvmlDeviceGetComputeMode(void *h, int *mode) { *mode = 0; return ready(h); }
WEAK int nvmlDeviceGetC2cModeInfoV(void *h, void *info) { (void)h; (void)info; return 3; } /* not supported */
WEAK int nvmlDeviceGetMemoryInfo(void *h, unsigned long long memory[3]) {
    memory[0] = 80ULL << 30; memory[1] = 79ULL << 30; memory[2] = 1ULL << 30;
    return ready(h);
}
WEAK int nvmlDeviceGetUtilizationRates(void *h, unsigned share[2]) { share[0] = share[1] = 50; return ready(h); }
