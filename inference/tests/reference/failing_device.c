/* A Vulkan driver that passes everything on to another one, until it says that the device is lost or
 * that its memory is full.
 *
 * CODRIVER_TEST_DRIVER is the other driver's library. While the file CODRIVER_TEST_FAIL exists, work
 * that is submitted is not done where the file holds "lost"; otherwise it holds the bytes that a buffer
 * may have, and larger ones are not made. Only what the loader asks a driver for is here:
 * https://github.com/KhronosGroup/Vulkan-Loader/blob/main/docs/LoaderDriverInterface.md
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VK_ERROR_OUT_OF_DEVICE_MEMORY (-2)
#define VK_ERROR_DEVICE_LOST (-4)

typedef void (*Function)(void);
typedef Function (*GetAddress)(void *, const char *);
typedef int32_t (*Submit)(void *, uint32_t, const void *, uint64_t);

/* The beginning of VkBufferCreateInfo. */
typedef struct {
    int32_t type;
    const void *next;
    uint32_t flags;
    uint64_t size;
} BufferInfo;
typedef int32_t (*CreateBuffer)(void *, const BufferInfo *, const void *, uint64_t *);

static GetAddress get_device_address;
static Submit submit, submit2;
static CreateBuffer create_buffer;

static void *driver(void) {
    static void *library;
    if (!library) library = dlopen(getenv("CODRIVER_TEST_DRIVER"), RTLD_NOW | RTLD_LOCAL);
    return library;
}

/* What the file says, "" where there is none. */
static const char *failure(void) {
    static _Thread_local char words[32];
    FILE *file = fopen(getenv("CODRIVER_TEST_FAIL"), "r");
    words[0] = 0;
    if (!file) return words;
    if (!fgets(words, sizeof words, file)) words[0] = 0;
    fclose(file);
    return words;
}

static int is_lost(void) { return !strcmp(failure(), "lost"); }

static int32_t lose_or_submit(void *queue, uint32_t count, const void *work, uint64_t fence) {
    return is_lost() ? VK_ERROR_DEVICE_LOST : submit(queue, count, work, fence);
}

static int32_t lose_or_submit2(void *queue, uint32_t count, const void *work, uint64_t fence) {
    return is_lost() ? VK_ERROR_DEVICE_LOST : submit2(queue, count, work, fence);
}

static int32_t create_small_buffer(void *device, const BufferInfo *info, const void *allocator, uint64_t *buffer) {
    uint64_t most = strtoull(failure(), 0, 10);
    if (most && info->size > most) return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    return create_buffer(device, info, allocator, buffer);
}

static Function device_address(void *device, const char *name);

static Function replaced(const char *name, Function found) {
    if (!found) return found;
    if (!strcmp(name, "vkQueueSubmit")) {
        submit = (Submit)found;
        return (Function)lose_or_submit;
    }
    if (!strcmp(name, "vkQueueSubmit2") || !strcmp(name, "vkQueueSubmit2KHR")) {
        submit2 = (Submit)found;
        return (Function)lose_or_submit2;
    }
    if (!strcmp(name, "vkCreateBuffer")) {
        create_buffer = (CreateBuffer)found;
        return (Function)create_small_buffer;
    }
    if (!strcmp(name, "vkGetDeviceProcAddr")) {
        get_device_address = (GetAddress)found;
        return (Function)device_address;
    }
    return found;
}

static Function device_address(void *device, const char *name) {
    return replaced(name, get_device_address(device, name));
}

Function vk_icdGetInstanceProcAddr(void *instance, const char *name) {
    GetAddress get = (GetAddress)dlsym(driver(), "vk_icdGetInstanceProcAddr");
    return replaced(name, get(instance, name));
}

Function vk_icdGetPhysicalDeviceProcAddr(void *instance, const char *name) {
    GetAddress get = (GetAddress)dlsym(driver(), "vk_icdGetPhysicalDeviceProcAddr");
    return get ? get(instance, name) : 0;
}

int32_t vk_icdNegotiateLoaderICDInterfaceVersion(uint32_t *version) {
    int32_t (*negotiate)(uint32_t *) =
        (int32_t (*)(uint32_t *))dlsym(driver(), "vk_icdNegotiateLoaderICDInterfaceVersion");
    return negotiate(version);
}
