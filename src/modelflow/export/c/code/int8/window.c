typedef struct {
    int channels, height, width, features, out_height, out_width;
    int rows, columns, down, right, above, left, groups;
} Window;
