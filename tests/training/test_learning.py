"""Training on changed images learns, and overfits less: on the real Fashion-MNIST."""

from modelflow.data.batches import Batches
from modelflow.networks.build import GenericCNN
from modelflow.training.augmentation import AS_THEY_ARE, Augmentation


def test_augmentation_lowers_the_loss_on_other_images_where_a_network_overfits(make_arch, fashion):
    """500 training images, 25 epochs: without augmentation, the network learns them by heart."""

    def trained(augmentation):
        train = Batches(fashion.train_x_NCHW[:500], fashion.train_y_N[:500], 25, shuffle=True)
        val = Batches(fashion.test_x_NCHW[:2000], fashion.test_y_N[:2000], 1000)
        model = GenericCNN("+valid-bn c8k5 m2 fc32 fc", 1)
        arch = make_arch(model, lr=3e-3, train_loader=train, val_loader=val)
        arch.augmentation = augmentation
        arch.train(25)
        return arch

    plain, augmented = trained(AS_THEY_ARE), trained(Augmentation(shift=2, flip=True))
    assert plain.losses[-1] < 0.05
    assert 0.1 < augmented.losses[-1] < 0.4 * augmented.losses[0]
    assert augmented.val_losses[-1] < 0.9 * plain.val_losses[-1]
