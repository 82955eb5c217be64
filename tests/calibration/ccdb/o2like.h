// Structs with the data members of O2 classes in CCDB, by name, type and version, for make_objects.py.
#ifndef O2LIKE_H
#define O2LIKE_H
#include <array>
#include <string>
#include <vector>
#include "Rtypes.h"
#include "Math/GenVector/PositionVector3D.h"
#include "Math/GenVector/Cartesian3D.h"

namespace o2::parameters {
struct GRPMagField {
  float mL3Current = 0.f;
  float mDipoleCurrent = 0.f;
  bool mUniformField = false;
  signed char mNominalL3Field = 0;    //!
  bool mNominalL3FieldValid = false;  //!
  ClassDefNV(GRPMagField, 2);
};
}  // namespace o2::parameters
namespace o2::tpc {
struct VDriftCorrFact {
  long firstTime{};
  long lastTime{};
  long creationTime{};
  float corrFact{1.0};
  float corrFactErr{0.0};
  float refVDrift{0.};
  float refTimeOffset{0.};
  float timeOffsetCorr{0.};
  ClassDefNV(VDriftCorrFact, 2);
};
enum class PadSubset : char { ROC, Partition, Region };
template <class T>
struct CalArray {
  std::string mName;
  std::vector<T> mData;
  PadSubset mPadSubset = PadSubset::ROC;
  int mPadSubsetNumber = 0;
  ClassDefNV(CalArray, 1);
};
template <class T>
struct CalDet {
  std::string mName;
  std::vector<CalArray<T>> mData;
  PadSubset mPadSubset = PadSubset::ROC;
  ClassDefNV(CalDet, 1);
};
}  // namespace o2::tpc
namespace o2::dataformats {
struct VertexBase {
  ROOT::Math::PositionVector3D<ROOT::Math::Cartesian3D<float>, ROOT::Math::DefaultCoordinateSystemTag> mPos;
  std::array<float, 6> mCov{};
  ClassDefNV(VertexBase, 1);
};
struct MeanVertexObject : public VertexBase {
  float mSlopeX{0.f};
  float mSlopeY{0.f};
  ClassDefNV(MeanVertexObject, 2);
};
}  // namespace o2::dataformats
#endif
