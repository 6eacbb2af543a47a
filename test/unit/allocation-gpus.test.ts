import { describe, expect, test } from "vitest";
import { gpusOfStep, gpusWithin, gpuWords, parseGpuList } from "../../src/allocation/gpus.ts";
import { UsageError } from "../../src/config/errors.ts";
import { surroundings } from "./allocation-surroundings.ts";

// As nvidia-smi -L prints it; no GPU was at hand.
const LIST = `GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-aaaaaaaa-0000-0000-0000-000000000000)
  MIG 1g.5gb      Device  0: (UUID: MIG-cccccccc-0000-0000-0000-000000000000)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-bbbbbbbb-0000-0000-0000-000000000000)
`;
const [A, B] = ["GPU-aaaaaaaa-0000-0000-0000-000000000000", "GPU-bbbbbbbb-0000-0000-0000-000000000000"];

describe("the GPUs of a step", () => {
  test("are read from nvidia-smi -L", () => {
    expect(parseGpuList(LIST)).toEqual([
      { index: 0, uuid: A },
      { index: 1, uuid: B },
    ]);
    expect(parseGpuList("No devices found.\n")).toEqual([]);
  });

  test("are what the manager's variables say, CUDA's first", () => {
    expect(gpuWords(surroundings({ CUDA_VISIBLE_DEVICES: "0,1", SLURM_JOB_GPUS: "4,5" }))).toEqual(["0", "1"]);
    expect(gpuWords(surroundings({ SLURM_JOB_GPUS: "4" }))).toEqual(["4"]);
    expect(gpuWords(surroundings({ CUDA_VISIBLE_DEVICES: "NoDevFiles" }))).toEqual([]);
    expect(gpuWords(surroundings({}))).toEqual([]);
  });

  test("are told by UUID, whether the manager says numbers or UUIDs, or their beginnings as CUDA allows", () => {
    expect(gpusOfStep(["1"], parseGpuList(LIST))).toEqual([B]);
    expect(gpusOfStep([B, "GPU-aaaa"], parseGpuList(LIST))).toEqual([B, A]);
    expect(() => gpusOfStep(["2"], parseGpuList(LIST))).toThrow(UsageError);
    expect(() => gpusOfStep([""], parseGpuList(LIST))).toThrow(UsageError);
  });

  test("are the most that a container gets", () => {
    expect(gpusWithin("all", [A, B])).toEqual([A, B]);
    expect(gpusWithin("all", [])).toEqual([]);
    expect(gpusWithin("1", [A, B])).toEqual([A]);
    expect(gpusWithin("device=1", [A, B])).toEqual([B]);
    expect(gpusWithin(`device=${B}`, [A, B])).toEqual([B]);
    for (const asked of ["3", "device=2", "device=GPU-dddddddd"]) {
      expect(() => gpusWithin(asked, [A, B])).toThrow(/the job has 2/);
    }
    expect(() => gpusWithin("1", [])).toThrow(/the job has none/);
  });
});
