/*
 * A library with the calls of NVML that headstart makes, for one L40S at 0000:86:00.0.
 *
 * It goes by files beside itself: `mixed` (mixed-size mode is on), `hang` (opening it does not return while the file is there), and
 * leaves `open` there as long as it is open. Structures and numbers as in NVIDIA's nvml.h.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7 };

struct type {
	unsigned number;
	const char *name;
	unsigned long long bytes;
	unsigned most, slots;
};

static const struct type TYPES[] = {
	{ 1150, "NVIDIA L40S-4Q", 4ull << 30, 12, 4 },
	{ 1152, "NVIDIA L40S-8Q", 8ull << 30, 6, 8 },
	{ 1153, "NVIDIA L40S-12Q", 12ull << 30, 4, 12 },
	{ 1155, "NVIDIA L40S-24Q", 24ull << 30, 2, 24 },
};
enum { N_TYPES = sizeof TYPES / sizeof *TYPES, SLOTS = 48 };

static char *beside(char *path, size_t size, const char *name)
{
	Dl_info self;

	dladdr((void *)beside, &self);
	snprintf(path, size, "%s", self.dli_fname);
	snprintf(strrchr(path, '/') + 1, size - strlen(path), "%s", name);
	return path;
}

static int there(const char *name)
{
	char path[4096];

	return access(beside(path, sizeof path, name), F_OK) == 0;
}

int nvmlInit_v2(void)
{
	char path[4096];

	while (there("hang"))
		usleep(1000);
	fclose(fopen(beside(path, sizeof path, "open"), "w"));
	return SUCCESS;
}

int nvmlShutdown(void)
{
	char path[4096];

	unlink(beside(path, sizeof path, "open"));
	return SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned *count)
{
	*count = 1;
	return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device)
{
	static int it;

	(void)index;
	*device = &it;
	return SUCCESS;
}

struct pci {
	char legacy[16];
	unsigned domain, bus, device, id, subsystem;
	char address[32];
};

int nvmlDeviceGetPciInfo_v3(void *device, struct pci *pci)
{
	(void)device;
	memset(pci, 0, sizeof *pci);
	strcpy(pci->legacy, "0000:86:00.0");
	strcpy(pci->address, "00000000:86:00.0");
	return SUCCESS;
}

int nvmlDeviceGetName(void *device, char *name, unsigned size)
{
	(void)device;
	snprintf(name, size, "NVIDIA L40S");
	return SUCCESS;
}

int nvmlDeviceGetMigMode(void *device, unsigned *current, unsigned *pending)
{
	(void)device, (void)current, (void)pending;
	return NOT_SUPPORTED;
}

int nvmlDeviceGetVgpuCapabilities(void *device, unsigned which, unsigned *result)
{
	(void)device;
	*result = which == 1; /* heterogeneous time-slice profiles */
	return SUCCESS;
}

struct mode {
	unsigned version, mode;
};

int nvmlDeviceGetVgpuHeterogeneousMode(void *device, struct mode *mode)
{
	(void)device;
	if (mode->version != (sizeof *mode | 1u << 24))
		return 25; /* argument version mismatch */
	mode->mode = there("mixed");
	return SUCCESS;
}

int nvmlDeviceGetSupportedVgpus(void *device, unsigned *count, unsigned *types)
{
	unsigned room = *count;

	(void)device;
	*count = N_TYPES;
	if (room < N_TYPES)
		return INSUFFICIENT_SIZE;
	for (int i = 0; i < N_TYPES; i++)
		types[i] = TYPES[i].number;
	return SUCCESS;
}

static const struct type *find(unsigned number)
{
	for (int i = 0; i < N_TYPES; i++)
		if (TYPES[i].number == number)
			return &TYPES[i];
	return NULL;
}

int nvmlVgpuTypeGetName(unsigned number, char *name, unsigned *size)
{
	snprintf(name, *size, "%s", find(number)->name);
	return SUCCESS;
}

int nvmlVgpuTypeGetFramebufferSize(unsigned number, unsigned long long *bytes)
{
	*bytes = find(number)->bytes;
	return SUCCESS;
}

int nvmlVgpuTypeGetMaxInstances(void *device, unsigned number, unsigned *most)
{
	(void)device;
	*most = find(number)->most;
	return SUCCESS;
}

struct placements {
	unsigned version, size, count;
	unsigned *ids;
};

int nvmlDeviceGetVgpuTypeSupportedPlacements(void *device, unsigned number, struct placements *list)
{
	const struct type *type = find(number);
	unsigned room = list->count;

	(void)device;
	if (list->version != (sizeof *list | 1u << 24))
		return 25;
	list->size = type->slots;
	list->count = SLOTS / type->slots;
	if (room < list->count)
		return INSUFFICIENT_SIZE;
	for (unsigned i = 0; i < list->count; i++)
		list->ids[i] = i * type->slots;
	return SUCCESS;
}
