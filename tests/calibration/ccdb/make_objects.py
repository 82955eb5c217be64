"""Writes the ROOT files of this folder, with ROOT itself and classes that have the data members of O2's.

    rootcling -f dict.cxx o2like.h o2likeLinkDef.h
    g++ -shared -fPIC -I$ROOTSYS/include -I. dict.cxx -o libo2like.so
    python make_objects.py

ROOT is not among the development packages (`pip install root`); what it writes is committed.
"""

import ROOT

INNER_PADS, OUTER_PADS = 5280, 9280


def save(name, thing, kind):
    """Write an object as CcdbApi does."""
    file = ROOT.TFile(name, "recreate")
    file.SetCompressionSettings(505)
    file.WriteObjectAny(thing, kind, "ccdb_object")
    file.Close()


def main():
    """Write all."""
    ROOT.gSystem.Load("./libo2like.so")
    ROOT.gInterpreter.Declare('#include "o2like.h"')
    o2 = ROOT.o2

    field = o2.parameters.GRPMagField()
    field.mL3Current, field.mDipoleCurrent = 29996.78, -5999.6
    save("GRPMagField.root", field, "o2::parameters::GRPMagField")

    drift = o2.tpc.VDriftCorrFact()
    drift.firstTime, drift.corrFact, drift.corrFactErr = 1700000000000, 1.0123, 1e-4
    drift.refVDrift, drift.refTimeOffset, drift.timeOffsetCorr = 2.58, 0.25, -0.125
    save("VDriftCorrFact.root", drift, "o2::tpc::VDriftCorrFact")

    beam = o2.dataformats.MeanVertexObject()
    beam.mPos.SetXYZ(-0.0125, 0.025, 0.75)
    for i, value in enumerate((1e-4, 1e-6, 4e-4, 2e-6, 3e-6, 36.0)):
        beam.mCov[i] = value
    beam.mSlopeX, beam.mSlopeY = 1e-4, -2e-4
    save("MeanVertexObject.root", beam, "o2::dataformats::MeanVertexObject")

    gain = o2.tpc.CalDet["float"]()
    gain.mName = "PadGain"
    for roc in range(72):
        chamber = o2.tpc.CalArray["float"]()
        chamber.mName, chamber.mPadSubsetNumber = f"GainMap_ROC_{roc:02d}", roc
        chamber.mData.resize(INNER_PADS if roc < 36 else OUTER_PADS, 1.0)
        for i in range(0, len(chamber.mData), 997):
            chamber.mData[i] = 1 + roc / 1000 + i / 1e5
        gain.mData.push_back(chamber)
    save("CalDet.root", gain, "o2::tpc::CalDet<float>")


if __name__ == "__main__":
    main()
