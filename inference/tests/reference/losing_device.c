/* A Vulkan driver that passes everything on to another one, until it says that the device is lost.
 *
 * CODRIVER_TEST_DRIVER is the other driver's library; work that is submitted while the file
 * CODRIVER_TEST_LOSE_DEVICE exists is not done. Only what the loader asks a driver for is here:
 * https://github.com/KhronosGroup/Vulkan-Loader/blob/main/docs/LoaderDriverInterface.md
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VK_ERROR_DEVICE_LOST (-4)

typedef void (*Function)(void);
typedef Function (*GetAddress)(void *, const char *);
typedef int32_t (*Submit)(void *, uint32_t, const void *, uint64_t);

static GetAddress get_device_address;
static Submit submit, submit2;

static void *driver(void) {
    static void *library;
    if (!library) library = dlopen(getenv("CODRIVER_TEST_DRIVER"), RTLD_NOW | RTLD_LOCAL);
    return library;
}

static int is_lost(void) { return access(getenv("CODRIVER_TEST_LOSE_DEVICE"), F_OK) == 0; }

static int32_t lose_or_submit(void *queue, uint32_t count, const void *work, uint64_t fence) {
    return is_lost() ? VK_ERROR_DEVICE_LOST : submit(queue, count, work, fence);
}

static int32_t lose_or_submit2(void *queue, uint32_t count, const void *work, uint64_t fence) {
    return is_lost() ? VK_ERROR_DEVICE_LOST : submit2(queue, count, work, fence);
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
