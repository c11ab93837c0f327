"""What `ferry doctor` and `ferry run` say of a machine where a chip can't be used: one line for each
way, that names what was called, what is wrong and what to do.

  doctor_faults.py FERRY BACKEND FOLDERS     FOLDERS: those of the releases are FOLDERS-NAME
"""
import json
import os
import subprocess
import sys

FERRY, BACKEND, FOLDERS = sys.argv[1:4]
VARIABLE = {"ascend": "ASCEND_HOME_PATH", "cambricon": "NEUWARE_HOME",
            "cuda": "FERRY_CUDA_DRIVER"}[BACKEND]
NOWHERE = {VARIABLE: "/nonexistent"}
# Way, settings, exit code of `ferry run`, and what is said.
WAYS = {
    "ascend": [
        ("library missing", NOWHERE, 2, "libascendcl.so can't be opened (/nonexistent/lib64/",
         "install CANN"),
        ("symbol absent", {"release": "broken"}, 2,
         "libopapi.so has no aclnnScatterNdUpdateGetWorkspaceSize (runtime ", "ferry needs a CANN"),
        ("driver too old", {"fault": "driver"}, 5, "does not fit CANN runtime", "install the driver"),
        ("no device", {"devices": "0"}, 5, "aclrtGetDeviceCount: no device", "npu-smi info"),
        ("busy", {"fault": "busy"}, 3, "another process may hold it", "choose another with --device"),
        ("permission", {"fault": "permission"}, 5, "no permission", "/dev/davinci*"),
    ],
    "cambricon": [
        ("library missing", NOWHERE, 2, "libcnrt.so can't be opened (/nonexistent/lib64/",
         "install Cambricon Neuware"),
        ("symbol absent", {"release": "broken"}, 2, "libcnnl.so has no cnnlScatterNd_v2 (CNRT ",
         "ferry needs a Neuware release"),
        ("driver too old", {"fault": "driver"}, 5, "does not fit CNRT", "update the driver"),
        ("no device", {"devices": "0"}, 5, "no device", "cnmon"),
        ("busy", {"fault": "busy"}, 3, "the device is busy", "choose another with --device"),
        ("permission", {"fault": "permission"}, 5, "no permission", "/dev/cambricon_dev*"),
    ],
    "cuda": [
        ("library missing", NOWHERE, 2, "/nonexistent/libcuda.so.1 can't be opened (",
         "install NVIDIA's driver"),
        ("symbol absent", {"release": "broken"}, 2, "libcuda.so.1 has no cuStreamWaitEvent",
         "update NVIDIA's driver"),
        ("driver too old", {"fault": "old"}, 2, "the driver is for CUDA 10.2, ferry needs",
         "update it"),
        ("no device", {"devices": "0"}, 5, "no device", "nvidia-smi"),
        ("busy", {"fault": "busy"}, 3, "the device is busy", "choose another with --device"),
        ("permission", {"fault": "permission"}, 5, "no permission", "/dev/nvidia*"),
    ],
}[BACKEND]
failures = []


def check(condition, what):
    if not condition:
        failures.append(what)
        print("FAILED: " + what)


for way, settings, code, *said in WAYS:
    env = {**os.environ, VARIABLE: FOLDERS + "-" + settings.get("release", "current")}
    env.update({key: value for key, value in settings.items() if key == VARIABLE})
    for key, variable in (("fault", "FERRY_EMULATED_FAULT"), ("devices", "FERRY_EMULATED_DEVICES")):
        if key in settings:
            env[variable] = settings[key]
    doctor = subprocess.run([FERRY, "doctor", "--json"], capture_output=True, text=True, env=env)
    check(doctor.returncode == 0, "%s: doctor: %d %s" % (way, doctor.returncode, doctor.stderr))
    chip = next(c for c in json.loads(doctor.stdout)["chips"] if c["backend"] == BACKEND)
    why = chip["why_not"]
    check(why.startswith(BACKEND + ": ") and "\n" not in why, "%s: doctor: %r" % (way, why))
    run = subprocess.run([FERRY, "run", "--backend", BACKEND, "-p", "2 + 2?"], capture_output=True,
                         text=True, env=env)
    check(run.returncode == code, "%s: run: %d %s" % (way, run.returncode, run.stderr))
    for text in said:
        check(text in why, "%s: doctor does not say %r: %r" % (way, text, why))
        check(text in run.stderr, "%s: run does not say %r: %r" % (way, text, run.stderr))

print("%d failures" % len(failures))
sys.exit(1 if failures else 0)
