// libcncl.so, emulated: only that it is there. ferry doesn't compute on several chips together yet.
extern "C" int cnclGetLibVersion(int* major, int* minor, int* patch) {
  *major = 1;
  *minor = 19;
  *patch = 0;
  return 0;
}
