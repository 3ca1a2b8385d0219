static float bounded(float x, float low, float high) { return x < low ? low : x > high ? high : x; }
